"""Events are lines of JSON that carry the request's id and never a body."""

import io
import json
import logging

import pytest

from service.observability.logging import configure_logging, log_event, request_id


@pytest.fixture
def lines():
    loggers = [logging.getLogger(name) for name in ("service", "uvicorn.error")]
    before = [(lg, lg.handlers, lg.propagate, lg.level) for lg in loggers]
    stream = io.StringIO()
    configure_logging("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger, handlers, propagate, level in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_an_event_is_a_line_with_its_fields(lines):
    log_event(logging.getLogger("service.x"), "job_claimed", attempt=2, path=pytest)
    (line,) = lines()
    assert (line["event"], line["attempt"], line["level"]) == ("job_claimed", 2, "info")
    assert line["logger"] == "service.x"
    assert line["time"].endswith("+00:00")
    assert "request_id" not in line


def test_the_request_being_served_is_named(lines):
    token = request_id.set("abc")
    log_event(logging.getLogger("service.x"), "done")
    request_id.reset(token)
    assert lines()[0]["request_id"] == "abc"


def test_an_error_brings_its_trace_on_the_same_line(lines):
    try:
        int("why")
    except ValueError as error:
        log_event(logging.getLogger("service.x"), "failed", level=logging.ERROR, error=error)
    (line,) = lines()
    assert "ValueError: invalid literal" in line["trace"]


def test_levels_below_the_chosen_are_left_out(lines):
    log_event(logging.getLogger("service.x"), "detail", level=logging.DEBUG)
    assert lines() == []
