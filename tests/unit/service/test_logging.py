"""Events are lines of JSON that carry the request's id and never a body."""

import asyncio
import contextvars
import io
import json
import logging
import warnings

import pytest

from service.api.request_context import client_name
from service.observability.logging import (
    JsonFormatter,
    TextFormatter,
    add_request_fields,
    collect_request_fields,
    configure_logging,
    log_event,
    request_id,
)


@pytest.fixture
def lines():
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("service", "uvicorn.error"))]
    before = [(logger, logger.level) for logger in loggers]
    stream = io.StringIO()
    configure_logging("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger, level in before:
        logger.setLevel(level)
    for handler in [
        h for h in root.handlers if isinstance(h.formatter, JsonFormatter | TextFormatter)
    ]:
        root.removeHandler(handler)
    logging.captureWarnings(False)


def test_an_event_is_a_line_with_its_fields(lines):
    log_event(logging.getLogger("service.x"), "job_claimed", attempt=2, path=pytest)
    (line,) = lines()
    assert (line["event"], line["attempt"], line["level"]) == ("job_claimed", 2, "info")
    assert line["logger"] == "service.x"
    assert line["time"].endswith("+00:00")
    assert "request_id" not in line
    assert "trace_id" not in line


def test_a_number_that_is_not_finite_is_null(lines):
    log_event(logging.getLogger("service.x"), "counted", rate=float("nan"), path=pytest)
    (line,) = lines()
    assert (line["event"], line["rate"]) == ("counted", None)


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


def test_libraries_complain_in_json_too_and_chat_unheard(lines):
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "http://h:1")
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!")
    logging.getLogger("httpx2").info("HTTP Request: GET http://h/?key=1")
    assert [(line["logger"], line["event"]) for line in lines()] == [
        ("uvicorn.error", "Uvicorn running on http://h:1"),
        ("asyncio", "Task was destroyed but it is pending!"),
    ]


def test_pythons_own_warnings_are_lines_too(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # anew: pytest took the place of the warnings' writer
        warnings.warn("an old thing", DeprecationWarning, stacklevel=1)
    (line,) = lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "an old thing" in line["event"]


def test_configuring_again_does_not_write_twice(lines):
    stream = io.StringIO()
    configure_logging("info", stream)
    log_event(logging.getLogger("service.x"), "done")
    assert len(stream.getvalue().splitlines()) == 1
    assert lines() == []


async def test_what_is_learnt_deeper_and_in_threads_comes_into_the_requests_own_fields():
    async def serve(caller):
        fields = collect_request_fields()
        await asyncio.gather(
            asyncio.to_thread(add_request_fields, caller=caller),
            asyncio.create_task(learn(caller)),
        )
        return fields

    async def learn(caller):
        add_request_fields(code=f"code of {caller}")

    first, second = await asyncio.gather(serve("a"), serve("b"))
    assert first == {"caller": "a", "code": "code of a"}
    assert second == {"caller": "b", "code": "code of b"}


def test_outside_a_request_there_is_nothing_to_add_to():
    add_request_fields(caller="a")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "form", "is_json"),
    [(io.StringIO, "auto", True), (Terminal, "auto", False), (Terminal, "json", True),
     (io.StringIO, "text", False)],
)  # fmt: skip
def test_people_at_a_terminal_read_text(lines, stream, form, is_json):
    stream = stream()
    configure_logging("info", stream, form=form)
    log_event(logging.getLogger("service.x"), "job_claimed", attempt=2, reason="no room", at=None)
    line = stream.getvalue()
    if is_json:
        assert json.loads(line)["attempt"] == 2
    else:
        assert line[8:] == ' info    job_claimed attempt=2 reason="no room"\n'


def test_text_has_the_trace_of_an_error_on_the_lines_after(lines):
    stream = io.StringIO()
    configure_logging("info", stream, form="text")
    log_event(logging.getLogger("service.x"), "failed", error=ValueError("what"))
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert trace[-1] == "ValueError: what"


def test_the_events_of_a_probe_are_for_debugging(lines):
    def probe():
        collect_request_fields(is_probe=True)
        log_event(logging.getLogger("service.x"), "request_finished")
        log_event(logging.getLogger("service.x"), "request_failed", level=logging.ERROR)

    contextvars.copy_context().run(probe)
    log_event(logging.getLogger("service.x"), "job_claimed")
    assert [line["event"] for line in lines()] == ["request_failed", "job_claimed"]


@pytest.mark.parametrize(
    ("user_agent", "client"),
    [("curl/8.5.0", "curl/8.5.0"), ("python-httpx2/0.28.1", "python-httpx2/0.28.1"),
     ("Mozilla/5.0 (X11; Linux x86_64) secret", "Mozilla/5.0"), ("my secret", None),
     ("token/abc", None), ("", None), ("curl/8\r\nx", None)],
)  # fmt: skip
def test_of_a_user_agent_program_and_version_are_logged(user_agent, client):
    assert client_name(user_agent) == client


def test_without_configuration_an_event_has_its_fields():
    record = logging.LogRecord(
        "service.storage.objects", logging.WARNING, __file__, 1, "storage_failed", None, None
    )
    record.event_fields = {"key": "the listing", "reason": "refused"}
    assert logging.lastResort.format(record).endswith(
        'warning storage_failed key="the listing" reason=refused'
    )
