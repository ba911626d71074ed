"""JSON that other parsers cannot read: refused on job_store, and read where it was stored."""

import contextlib
import json
import sqlite3

import pytest

from service.jobs.store import job_store
from tests.integration.job_server import URL, files, job_server, read_events
from tests.unit.service.jobs.jobs_at_hand import new_job
from tests.waiting import until

JSON_TYPE = {"Content-Type": "application/json"}
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400")
KEY = {"Idempotency-Key": "k"}


def body(**members):
    """Return a submission whose members are given as JSON text."""
    inputs = '[{"url": "https://example.org/a.wav"}]'
    return "{" + ",".join(f'"{n}":{v}' for n, v in {"inputs": inputs, **members}.items()) + "}"


def strict(text):
    """Parse JSON as strict parsers do."""

    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
async def client(tmp_path):
    """Run a server that only accepts jobs."""
    async with job_server(tmp_path, worker=False, webhook_secret="s" * 16) as client:
        client.database = tmp_path / "data" / "jobs.sqlite3"
        yield client


def store(client, job, **columns):
    with contextlib.closing(sqlite3.connect(client.database)) as database:
        for name, value in columns.items():
            database.execute(f"update mt3_job set {name} = ? where job_id = ?", [value, job["id"]])
        database.commit()


REFUSED = [
    *(({"metadata": f'{{"a": {number}}}'}, "metadata") for number in NUMBERS),
    ({"metadata": '{"a": [1, {"b": [NaN]}]}'}, "metadata"),
    ({"metadata": '{"a": "\\ud800"}'}, "body"),
    ({"metadata": f'{{"a": {"9" * 5_000}}}'}, "body"),
    ({"metadata": f'{{"a": {"[" * 9_000}{"]" * 9_000}}}'}, "body"),
    ({"options": '{"start": NaN}'}, "options"),
    ({"options": '{"model": 1e400}'}, "options"),
    ({"options": '{"end": "\\ud800"}'}, "body"),
    ({"expires_in_seconds": "Infinity"}, "expires_in_seconds"),
    ({"webhook": '{"url": "https://example.org/\\u0000"}'}, "webhook.url"),
]


async def test_values_that_json_does_not_have_are_refused(client):
    for members, param in REFUSED:
        answer = await client.post(URL, content=body(**members), headers=JSON_TYPE | KEY)
        assert (answer.status_code, answer.json()["param"]) == (422, param), members
        if "metadata" in members:
            form = {"files": files("a.wav"), "data": members, "headers": KEY}
            answer = await client.post(URL, **form)
            assert (answer.status_code, answer.json()["param"]) == (422, "metadata"), members
    assert (await client.get(URL)).json()["data"] == []


async def test_values_that_json_has_come_back_as_they_were_sent(client):
    metadata = {"nul": "\0", "\0": 1, "digits": 10**300, "deep": [[[[]]]], "small": 5e-324}
    answer = await client.post(URL, json={"inputs": [{"url": "https://example.org/a"}],
                                          "metadata": metadata})  # fmt: skip
    assert answer.status_code == 202
    assert answer.json()["metadata"] == metadata
    assert (await client.get(URL)).json()["data"][0]["metadata"] == metadata


async def test_metadata_stored_by_an_earlier_version_is_read_with_a_warning(client):
    sent = body(metadata='{"a": 1}')
    answer = await client.post(URL, content=sent, headers=JSON_TYPE | KEY)
    job = answer.json()
    store(client, job, metadata='{"a": NaN, "b": [1e400, "\\ud800"], "c": 2}')
    watching = client.get(job["links"]["events"])
    canceled = await client.post(f"{job['links']['self']}/cancel")
    listed = await client.get(URL)
    repeated = await client.post(URL, content=sent, headers=JSON_TYPE | KEY)
    for answer in (canceled, repeated, await client.get(job["links"]["self"])):
        assert answer.status_code in (200, 202)
        found = strict(answer.text)
        assert found["metadata"] == {"a": None, "b": [None, "\N{REPLACEMENT CHARACTER}"], "c": 2}
        assert [warning["code"] for warning in found["warnings"]] == ["metadata_damaged"]
    assert strict(listed.text)["data"][0] == found
    events = (await watching).text
    assert read_events(events)[-1][2]["job"] == found
    assert "NaN" not in events
    assert (await client.delete(job["links"]["self"])).status_code == 204


DAMAGED = [
    ("metadata", "not JSON", True),
    ("metadata", "[1]", True),
    ("metadata", "[" * 100_000, True),
    ("metadata", f'{{"a": {"9" * 5_000}}}', True),
    ("options", '{"colour": "red"}', False),
    ("options", "not JSON", False),
    ("options", '{"decoding": "oracle"}', False),
    ("options", '{"end": "soon"}', False),
    ("state", "lost", False),
]


async def test_one_row_that_cannot_be_read_does_not_hide_the_others(client):
    first = (await client.post(URL, content=body(), headers=JSON_TYPE)).json()["id"]
    for column, value, is_listed in DAMAGED:
        job = (await client.post(URL, content=body(), headers=JSON_TYPE)).json()
        store(client, job, **{column: value})
        answer = await client.get(URL)
        assert answer.status_code == 200
        found = [each["id"] for each in answer.json()["data"]]
        assert found == ([job["id"], first] if is_listed else [first]), column
        if not is_listed:
            for method, path in (
                ("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/items/0/result"),
                ("GET", "/results.zip"),
            ):  # fmt: skip
                answer = await client.request(method, job["links"]["self"] + path)
                assert answer.headers["content-type"] == "application/problem+json"
                assert (answer.status_code, answer.json()["code"]) == (409, "job_unreadable"), path
                assert job["id"] in answer.json()["detail"]
        assert (await client.delete(job["links"]["self"])).status_code == 204


async def test_a_job_whose_answer_cannot_be_written_is_not_accepted(client):
    with pytest.raises(ValueError, match="JSON"):
        await client.service.jobs.queue.submit(new_job(metadata={"a": float("nan")}))
    assert (await client.get(URL)).json()["data"] == []


async def test_a_job_whose_document_fails_is_rolled_back(client, monkeypatch):
    def fail(job):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(job_store, "describe_job", fail)
        assert (await client.post(URL, files=files("a.wav"))).status_code == 500
    assert (await client.get(URL)).json()["data"] == []
    value = client.service.metrics.registry.get_sample_value
    await until(lambda: value("mt3_job_items", {"state": "queued"}) == 0)
