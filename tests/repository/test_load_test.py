"""The load test: what its report counts as a fault; its requirements are exact and hashed."""

import importlib.util
import re

import pytest

from tests.repository.tracked_files import ROOT

LOAD = ROOT / "deploy" / "load"


def load_report():
    spec = importlib.util.spec_from_file_location("report", LOAD / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


report = load_report()


def percentiles(value):
    return dict.fromkeys(("p50", "p95", "p99", "max"), value)


def step(**changed):
    """A step in which all is well."""
    return {
        "name": "4 callers", "began": 100.0, "ended": 110.0, "requests": 9, "accepted": 5,
        "refused": 4, "failed": 0, "errors": [], "hung": 0, "audio_seconds_per_second": 4.0,
        "answers_per_second": 0.9, "latency_seconds": percentiles(2.0),
        "first_note_seconds": percentiles(0.5), "refusal_seconds": percentiles(0.02),
        "refusals_without_retry_after": 0, "retries": 4, "retries_accepted": 3,
        "retry_after": {"retry_after_seconds": 2.0, "accepted_after_seconds": 1.5},
        "health": {"asked": 3, "unanswered": 0, "p50": 0.001, "p95": 0.002, "max": 0.003},
    } | changed  # fmt: skip


def test_a_good_step_has_no_fault():
    assert report.find_faults([step()]) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"failed": 1, "errors": [{"error": "500"}]},
        {"hung": 1},
        {"refusals_without_retry_after": 1},
        {"refusal_seconds": percentiles(1.1)},
        {"health": {"asked": 3, "unanswered": 1, "p50": 0.001, "p95": 0.002, "max": 0.003}},
        {"health": {"asked": 3, "unanswered": 0, "p50": 0.001, "p95": 0.2, "max": 0.3}},
    ],
)
def test_each_thing_that_must_not_be_is_a_fault(changed):
    (fault,) = report.find_faults([step(), step(**changed)])
    assert fault.startswith("4 callers: ")


def test_health_is_that_of_the_step():
    steps = [step()]
    probes = [
        {"at": 99.0, "seconds": 9.0}, {"at": 100.5, "seconds": 0.003},
        {"at": 101.0, "seconds": 0.001}, {"at": 102.0, "seconds": None},
        {"at": 103.0, "seconds": 0.002}, {"at": 111.0, "seconds": 9.0},
    ]  # fmt: skip
    report.add_health(steps, probes)
    assert steps[0]["health"] == {
        "asked": 4, "unanswered": 1, "p50": 0.002, "p95": 0.002, "max": 0.003
    }  # fmt: skip


def test_a_step_without_answers_is_a_line_too():
    nothing = step(
        accepted=0, refused=0, latency_seconds=None, first_note_seconds=None, refusal_seconds=None,
        health={"asked": 0, "unanswered": 0, "p50": None, "p95": None, "max": None},
    )  # fmt: skip
    header, *lines = report.to_table([step(), nothing]).splitlines()
    assert "audio s/s" in header
    assert ["2.00/2.00/2.00" in line for line in lines] == [True, False]
    assert "-/-/-" in lines[1]


def test_the_accuracy_of_retry_after_is_described():
    words = report.describe_retry_after([step()])
    assert "Of 4 retries" in words
    assert "Retry-After 2 s, accepted after 1.5 s" in words


def test_every_requirement_is_exact_and_hashed():
    text = (LOAD / "requirements.txt").read_text()
    requirements = [
        line for line in text.replace("\\\n", " ").splitlines() if line and line[0] not in "# "
    ]
    assert any(line.startswith("locust==") for line in requirements)
    assert all(re.match(r"[\w.-]+==\S+", line) for line in requirements)
    assert all("--hash=sha256:" in line for line in requirements)
    assert "://" not in text
