"""Spans nest, continue a caller's trace without trusting it, and cost nothing while off."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mt3_model.errors import OptionError
from service.observability.tracing import (
    current_trace_id,
    record_span,
    request_span,
    span,
    start_tracing,
    stop_tracing,
)

TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7
"""Source: the examples of W3C Trace Context, 3.2.2.5 and 3.2.2.3."""
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


@pytest.fixture
def exporter():
    exporter = InMemorySpanExporter()
    start_tracing(version="1.2.3", exporter=exporter)
    yield exporter
    stop_tracing()


def parent_of(exporter, header):
    """Return trace id and span id of the parent that a request with this header has, if any."""
    with request_span("GET", traceparent=header):
        pass
    (recorded,) = exporter.get_finished_spans()
    return recorded.parent and (recorded.context.trace_id, recorded.parent.span_id)


def by_name(exporter):
    return {recorded.name: recorded for recorded in exporter.get_finished_spans()}


# Off


def test_while_off_no_span_is_recorded():
    with request_span("GET", traceparent=TRACEPARENT) as first, span("open", {"a": 1.0}) as second:
        assert not first.is_recording()
        assert not second.is_recording()
        assert current_trace_id() is None
    record_span("queue", began=0.0, ended=1.0)


@pytest.mark.slow
def test_while_off_opentelemetrys_sdk_is_not_imported():
    code = (
        "import sys; from service.api.app import create_app; from service.settings import Settings;"
        " create_app(Settings(backend='fake'));"
        " assert 'service.observability.tracing' in sys.modules;"
        " sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_turned_on_without_opentelemetry_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "service.observability.span_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(OptionError, match=r"MT3_TRACING is on.*mt3-service\[tracing\]"):
        start_tracing(version="1.2.3")
    with span("open") as one:
        assert not one.is_recording()


# On


def test_spans_nest_and_carry_their_facts(exporter):
    with request_span("POST", traceparent=None) as request:
        with span("open", {"audio.seconds": 3.0}) as opening:
            opening.set_attribute("segments", 2)
        record_span("queue", began=time.monotonic() - 2.0, ended=time.monotonic() - 0.5)
        request.update_name("POST /v1/transcriptions")
    found = by_name(exporter)
    request = found["POST /v1/transcriptions"]
    assert (request.kind, request.parent) == (SpanKind.SERVER, None)
    for name in ("open", "queue"):
        assert found[name].parent.span_id == request.context.span_id
        assert found[name].context.trace_id == request.context.trace_id
    assert dict(found["open"].attributes) == {"audio.seconds": 3.0, "segments": 2}
    queue = found["queue"]
    assert (queue.end_time - queue.start_time) / 1e9 == pytest.approx(1.5, abs=1e-3)
    assert abs(queue.end_time / 1e9 + 0.5 - time.time()) < 5
    assert request.resource.attributes["service.name"] == "mt3-service"
    assert request.resource.attributes["service.version"] == "1.2.3"


async def test_a_requests_tasks_and_threads_are_inside_its_span_and_no_others(exporter):
    async def serve(name):
        with request_span(name, traceparent=None):
            await asyncio.gather(
                asyncio.create_task(asyncio.sleep(0)), asyncio.to_thread(work, f"{name} thread")
            )

    def work(name):
        with span(name):
            pass

    await asyncio.gather(asyncio.create_task(serve("a")), asyncio.create_task(serve("b")))
    found = by_name(exporter)
    for name in ("a", "b"):
        assert found[f"{name} thread"].parent.span_id == found[name].context.span_id
    assert found["a"].context.trace_id != found["b"].context.trace_id


def test_an_exception_marks_the_span_by_its_class_and_never_its_words(exporter):
    with pytest.raises(ValueError, match="secret"), span("open"):
        raise ValueError("secret")
    (recorded,) = exporter.get_finished_spans()
    assert recorded.status.status_code is StatusCode.ERROR
    assert dict(recorded.attributes) == {"error.type": "ValueError"}
    assert "secret" not in recorded.to_json()


async def test_a_generator_closed_from_another_task_ends_its_span_without_a_fault(exporter, caplog):
    async def notes():
        with span("generate"):
            yield 1
            yield 2

    generator = notes()
    await anext(generator)
    await asyncio.create_task(generator.aclose())
    (recorded,) = exporter.get_finished_spans()
    assert recorded.status.status_code is StatusCode.UNSET
    assert caplog.records == []


def test_a_log_line_can_name_the_trace(exporter):
    assert current_trace_id() is None
    with request_span("GET", traceparent=TRACEPARENT), span("open"):
        assert current_trace_id() == f"{TRACE:032x}"
    assert current_trace_id() is None


def test_the_environment_names_the_service(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "transcription")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
    exporter = InMemorySpanExporter()
    start_tracing(version="1.2.3", exporter=exporter)
    with span("open"):
        pass
    attributes = exporter.get_finished_spans()[0].resource.attributes
    stop_tracing()
    assert attributes["service.name"] == "transcription"
    assert attributes["deployment.environment"] == "staging"


def test_the_end_does_not_wait_for_a_collector_that_is_away(monkeypatch):
    is_back = threading.Event()

    class Waiting(InMemorySpanExporter):
        def shutdown(self):
            assert is_back.wait(120)

    monkeypatch.setattr("service.observability.tracing.LAST_EXPORT_SECONDS", 0.05)
    start_tracing(version="1.2.3", exporter=Waiting())
    with span("open"):
        pass
    stop_tracing()
    (closing,) = [thread for thread in threading.enumerate() if thread.name == "tracing"]
    is_back.set()  # only now
    closing.join()


# What a caller sends


def test_a_callers_trace_is_continued(exporter):
    with request_span("GET", traceparent=TRACEPARENT):
        pass
    (recorded,) = exporter.get_finished_spans()
    assert (recorded.context.trace_id, recorded.parent.span_id) == (TRACE, PARENT)
    assert recorded.parent.is_remote


@pytest.mark.parametrize("flag", ["00", "01"])
@pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (1.0, 1)])
def test_a_callers_flag_decides_nothing(flag, ratio, count):
    exporter = InMemorySpanExporter()
    start_tracing(version="1.2.3", ratio=ratio, exporter=exporter)
    with request_span("GET", traceparent=f"{TRACEPARENT[:-2]}{flag}"):
        pass
    stop_tracing()
    assert len(exporter.get_finished_spans()) == count


@pytest.mark.parametrize(
    "header",
    [TRACEPARENT, TRACEPARENT.replace("00-", "01-", 1), f"cc{TRACEPARENT[2:]}-what-will-be"],
)
def test_a_valid_header_is_read_as_far_as_it_is_known(exporter, header):
    assert parent_of(exporter, header) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "ff" + TRACEPARENT[2:],
        TRACEPARENT + "-more",  # version 00 has none
        TRACEPARENT + "x",
        "cc" + TRACEPARENT[2:] + ".more",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACEPARENT.replace("00f067aa0ba902b7", "0" * 16),
        "00-٠af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
    ],
)
def test_any_other_header_is_as_if_it_were_absent(exporter, header):
    assert parent_of(exporter, header) is None
