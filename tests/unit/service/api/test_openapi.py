"""The published contract is current and agrees with the code."""

import json

import openapi_spec_validator
import pytest

from service.api.openapi import CONTRACT, contract_text
from service.api.problems import PROBLEMS
from service.schemas.transcription_event import TRANSCRIPTION_EVENTS
from service.schemas.transcription_options import OPTION_NAMES


def operation():
    return json.loads(contract_text())["paths"]["/v1/transcriptions"]["post"]


def test_the_committed_contract_is_current():
    assert CONTRACT.read_text(encoding="utf-8") == contract_text(), (
        "run: python -m service.api.openapi"
    )


def test_the_contract_is_valid_openapi_of_its_version():
    openapi_spec_validator.validate(json.loads(contract_text()))


def test_every_option_is_published_for_query_and_form():
    in_query = [p["name"] for p in operation()["parameters"] if p["in"] == "query"]
    assert in_query == list(OPTION_NAMES)
    form = operation()["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"file", *OPTION_NAMES}


def test_no_option_is_published_with_a_default_that_a_page_would_send_twice():
    form = operation()["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    schemas = [*form.values(), *(p["schema"] for p in operation()["parameters"])]
    # An empty list sends nothing; Swagger UI fails on a list without a default.
    assert not [s for s in schemas if s.get("default") or "example" in s]


def test_every_event_is_published_where_streams_are_answered():
    contract = json.loads(contract_text())
    resumed = contract["paths"]["/v1/transcriptions/{id}/events"]["get"]
    for described in (operation(), resumed):
        item = described["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]
        shapes = item["properties"]["data"]["contentSchema"]["oneOf"]
        named = [contract["components"]["schemas"][s["$ref"].rsplit("/", 1)[1]] for s in shapes]
        types = {shape["properties"]["type"]["const"] for shape in named}
        assert types == set(item["properties"]["event"]["enum"])
        assert len(types) == len(TRANSCRIPTION_EVENTS)


@pytest.mark.slow
def test_every_status_is_published_as_a_problem_document():
    for problem in PROBLEMS.values():
        response = operation()["responses"][str(problem.status.value)]
        assert list(response["content"]) == ["application/problem+json"]
        assert problem.code in response["description"]


def test_every_reference_leads_somewhere():
    contract = json.loads(contract_text())

    def references(node):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from [value] if key == "$ref" else references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = contract["components"]["schemas"]
    found = set(references(contract))
    assert found
    assert all(r.removeprefix("#/components/schemas/") in schemas for r in found)


def test_the_webhook_is_published():
    contract = json.loads(contract_text())
    sent = contract["webhooks"]["jobEnded"]["post"]["requestBody"]["content"]["application/json"]
    name = sent["schema"]["$ref"].rsplit("/", 1)[1]
    assert set(contract["components"]["schemas"][name]["properties"]) == {
        "event", "created_at", "job",
    }  # fmt: skip
