"""Metrics, logs and traces of real requests."""

import asyncio
import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from service.api.request_context import RequestContextMiddleware
from service.observability.metrics import Metrics
from service.observability.tracing import start_tracing, stop_tracing
from tests.integration.serving import recording, serving
from tests.unit.service.jobs.ports import free_port
from tests.unit.service.metric_values import sample
from tests.waiting import wait_until

URL = "/v1/transcriptions"
SECRETS = {
    "key": "Sec1retKey0",
    "query": "Sec2retQuery0",
    "name": "Sec3retName0",
    "field": "Sec4retField0",
    "path": "Sec5retPath0",
    "audio": "Sec6retAudio0",
    "header": "Sec7retHeader0",
}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


# Metrics over HTTP


async def test_metrics_are_prometheus_text_by_default_and_openmetrics_on_request(tmp_path):
    async with serving(tmp_path) as client:
        text = await client.get("/metrics")
        browser = await client.get("/metrics", headers={"Accept": "text/html,*/*;q=0.8"})
        asked = await client.get(
            "/metrics",
            headers={"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"},
        )
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert browser.headers["content-type"] == text.headers["content-type"]
    assert {family.name for family in read_text(text.text)} >= {"mt3_slots", "mt3_build_info"}
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in read_openmetrics(asked.text)} >= {"mt3_slots", "mt3_build"}


async def test_metrics_are_there_before_the_model_is(tmp_path):
    def never(settings):
        raise RuntimeError("no model")

    async with serving(tmp_path, load=never, wait=False) as client:
        response = await client.get("/metrics")
    assert response.status_code == 200
    assert "mt3_model_state" in response.text


async def test_a_strange_accept_header_is_no_fault_of_the_server(tmp_path):
    async with serving(tmp_path, wait=False) as client:
        for accept in ("application/openmetrics-text;version=x", "text/plain;version=∞", ";,=", ""):
            response = await client.get("/metrics", headers={"Accept": accept.encode()})
            assert response.status_code == 200


# What the middleware counts


async def test_requests_are_counted_by_pattern_and_status_and_errors_by_code(tmp_path):
    async with serving(tmp_path) as client:
        await client.post(URL, content=recording())
        await client.post(URL, content=b"no audio at all")
        await client.post(URL, params={"decoding": "?"}, content=b"")
        metrics = client.service.metrics
        for status, count in ((200, 1), (400, 1), (422, 1)):
            labels = {"method": "POST", "route": URL, "status": str(status)}
            assert sample(metrics, "mt3_http_requests_total", **labels) == count
        assert sample(metrics, "mt3_http_request_seconds_count", route=URL) == 3
        for code in ("audio_undecodable", "invalid_option"):
            assert sample(metrics, "mt3_errors_total", code=code) == 1
        assert sample(metrics, "mt3_http_requests_in_progress") == 0


async def test_every_code_is_there_before_its_first_error(tmp_path):
    async with serving(tmp_path, wait=False) as client:
        text = (await client.get("/metrics")).text
    assert 'mt3_errors_total{code="internal_error"} 0.0' in text
    assert 'mt3_errors_total{code="overloaded"} 0.0' in text


async def test_labels_stay_few_whatever_is_sent(tmp_path):
    async with serving(tmp_path, wait=False) as client:
        for number in range(20):
            await client.get(f"/path{number}")
            await client.request(f"METHOD{number}", "/health")
            await client.request(f"METHOD{number}", f"/{number}")
        families = read_text((await client.get("/metrics")).text)
        labels = {
            tuple(found.labels.values())
            for family in families
            if family.name == "mt3_http_requests"
            for found in family.samples
        }
    assert labels == {
        ("GET", "unknown", "404"), ("other", "/health", "405"), ("other", "unknown", "404"),
    }  # fmt: skip


async def call(app, *, headers=()):
    """Send one request without a body to an ASGI application; return its messages."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": list(headers)}
    await app(scope, receive, send)
    return sent


async def test_a_streamed_answer_is_measured_to_its_end():
    metrics = Metrics()
    during = []

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await asyncio.sleep(0)
            during.append(sample(metrics, "mt3_http_requests_in_progress"))
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 2})

    await call(RequestContextMiddleware(stream, metrics))
    assert during == [1, 1, 1]
    assert sample(metrics, "mt3_http_requests_in_progress") == 0
    assert sample(metrics, "mt3_http_request_seconds_count", route="unknown") == 1


async def test_a_request_without_an_answer_is_counted_too():
    metrics = Metrics()

    async def cancel(scope, receive, send):
        raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await call(RequestContextMiddleware(cancel, metrics))
    labels = {"method": "GET", "route": "unknown", "status": "none"}
    assert sample(metrics, "mt3_http_requests_total", **labels) == 1
    assert sample(metrics, "mt3_http_requests_in_progress") == 0


async def test_a_fault_of_ours_is_counted_as_one_and_answered(caplog):
    metrics = Metrics()

    async def broken(scope, receive, send):
        raise ValueError("broken")

    sent = await call(RequestContextMiddleware(broken, metrics))
    assert sent[0]["status"] == 500
    assert sample(metrics, "mt3_errors_total", code="internal_error") == 1
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["request_failed"]


# The whole process: its log, and its traces


@contextlib.contextmanager
def process(tmp_path, **environment):
    """Run `mt3 serve` with the fake backend; yield its address and, once it has ended, its log."""
    port = free_port()
    log = tmp_path / "log"
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    settings = {"BACKEND": "fake", "PORT": str(port), "UPLOAD_DIR": str(uploads)}
    variables = {f"MT3_{name}": value for name, value in settings.items()}
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            env={**os.environ, **variables, **environment},
            stderr=stream,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: running.poll() is not None or is_ready(address))
        assert running.poll() is None, log.read_text()
        yield address, log
        running.send_signal(signal.SIGTERM)
        assert running.wait(120) == 0
    finally:
        running.kill()
        running.wait()


def is_ready(address):
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{address}/ready").status_code == 200
    return False


def send_secrets(address):
    """Send requests of every kind, with a text in every place that must not be logged."""
    headers = {
        "Authorization": f"Bearer {SECRETS['key']}",
        "X-Anything": SECRETS["header"],
        "User-Agent": SECRETS["header"],
        "Referer": f"http://h/{SECRETS['header']}",
        "baggage": f"a={SECRETS['header']}",
        "tracestate": f"a={SECRETS['header']}",
        "traceparent": f"00-{TRACE}-{PARENT}-00",
    }
    with httpx2.Client(base_url=address, headers=headers) as client:
        post = client.post
        assert post(URL, content=recording(3.0)).status_code == 200
        form = {"file": (f"{SECRETS['name']}.wav", recording())}
        assert post(URL, files=form).status_code == 200
        assert post(URL, files=form, data={SECRETS["field"]: "1"}).status_code == 422
        assert post(URL, files=form, data={"start": SECRETS["field"]}).status_code == 422
        assert post(URL, params={"start": SECRETS["query"]}).status_code == 422
        assert post(URL, params={SECRETS["query"]: "1"}, content=recording()).status_code == 422
        assert post(URL, content=SECRETS["audio"].encode() * 1_000).status_code == 400
        broken = {"file": (f"{SECRETS['name']}.wav", recording()[:30] + SECRETS["audio"].encode())}
        assert post(URL, files=broken).status_code == 400
        assert client.get(f"/{SECRETS['path']}?{SECRETS['query']}").status_code == 404
        assert client.request(SECRETS["header"].upper(), f"/health?{SECRETS['query']}").is_error
        assert client.get(f"/metrics?{SECRETS['query']}").status_code == 200
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        client.get(f"/health?{SECRETS['query']}", headers=websocket)
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=400) as connection:
        connection.sendall(f"{SECRETS['header']} {SECRETS['query']}\r\n\r\n".encode())
        connection.recv(1_000)
    broken_off = http.client.HTTPConnection(host, int(port))
    broken_off.putrequest("POST", f"{URL}?{SECRETS['query']}=1")
    broken_off.endheaders()
    broken_off.close()


def assert_no_secret(text):
    assert not [name for name, secret in SECRETS.items() if secret.lower() in text.lower()]


def test_every_line_of_the_log_is_json_and_none_holds_what_a_caller_sent(tmp_path):
    with process(tmp_path, MT3_LOG_LEVEL="debug") as (address, log):
        send_secrets(address)
    text = log.read_text()
    assert_no_secret(text)
    events = [json.loads(line) for line in text.splitlines()]
    names = [event["event"] for event in events]
    assert {"model_ready", "request_refused", "request_finished"} <= set(names)
    assert "Invalid HTTP request received." in names  # uvicorn's own, in JSON too
    finished = [event for event in events if event["event"] == "request_finished"]
    posted = [event for event in finished if event["route"] == URL and event["status"] == 200]
    assert len(posted) == 2
    assert posted[0]["bytes_received"] == len(recording(3.0))
    assert posted[0]["bytes_sent"] > 1_000
    assert (posted[0]["audio_seconds"], posted[0]["response_format"]) == (3.0, "json")
    assert posted[0]["notes"] > 0
    assert posted[0]["queue_seconds"] >= 0.0
    probes = [event for event in finished if event["route"] in ("/health", "/metrics")]
    assert {event["level"] for event in probes if event["method"] == "GET"} == {"debug"}
    assert {event["code"] for event in finished if event["status"] == 422} == {"invalid_option"}
    assert all(event["request_id"] and event["seconds"] >= 0 for event in finished)
    assert "trace_id" not in posted[0]


class Collector(http.server.BaseHTTPRequestHandler):
    """Receives the data of an OTLP exporter over HTTP."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def endpoint(collector):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}


def test_a_request_is_a_trace_at_the_collector_and_holds_nothing_of_the_callers(
    tmp_path, collector
):
    # The framework's own telemetry is off even where its own variable turns it on: it would send
    # query strings, and everything twice.
    variables = {"MT3_TRACING": "true", "FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
    with process(tmp_path, **variables, **endpoint(collector)) as (address, log):
        send_secrets(address)
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    spans = []
    for _, body in collector.received:
        assert_no_secret(body.decode("latin-1"))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert attributes["service.name"] == "mt3-service"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    requests = [s for s in spans if s.name == f"POST {URL}" and s.parent_span_id.hex() == PARENT]
    assert {s.trace_id.hex() for s in requests} == {TRACE}
    statuses = [a.value.int_value for s in requests for a in s.attributes
                if a.key == "http.response.status_code"]  # fmt: skip
    assert sorted(statuses) == [200, 200, 400, 400, 422, 422, 422, 422]
    (served, *_) = requests
    children = inside(served, spans)
    assert set(children) == {"upload", "open", "generate", "conclude"}
    assert set(inside(children["generate"], spans)) == {"queue"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert TRACE in {line.get("trace_id") for line in lines}


def inside(parent, spans):
    """Return a span's children by name, which must lie within it."""
    children = {s.name: s for s in spans if s.parent_span_id == parent.span_id}
    millisecond = 10**6  # a finished wait is measured by another clock
    for child in children.values():
        assert parent.start_time_unix_nano <= child.start_time_unix_nano + millisecond
        assert child.end_time_unix_nano <= parent.end_time_unix_nano + millisecond
    return children


async def test_a_stream_is_one_trace_although_it_runs_in_a_task_of_its_own(tmp_path):
    exporter = InMemorySpanExporter()
    start_tracing(version="1.2.3", exporter=exporter)
    try:
        async with serving(tmp_path) as client:
            streamed = await client.post(URL, content=recording(3.0), params={"stream": "true"})
            failed = await client.post(URL, content=b"no audio")
    finally:
        stop_tracing()
    assert "event: completed" in streamed.text
    assert failed.status_code == 400
    spans = exporter.get_finished_spans()
    requests = {s.attributes["http.response.status_code"]: s for s in spans if s.parent is None}
    traces = {
        status: {s.name for s in spans if s.context.trace_id == root.context.trace_id}
        for status, root in requests.items()
        if status in (200, 400)
    }
    name = f"POST {URL}"
    assert traces[200] == {name, "upload", "open", "generate", "queue", "conclude"}
    assert traces[400] == {name, "upload", "open"}
    (opening,) = (s for s in spans if s.name == "open" and "error.type" in s.attributes)
    assert opening.attributes["error.type"] == "AudioFormatError"


def test_without_tracing_nothing_is_sent_even_where_a_collector_is_named(tmp_path, collector):
    with process(tmp_path, **endpoint(collector)) as (address, _):
        httpx2.post(f"{address}{URL}", content=recording()).raise_for_status()
    assert collector.received == []


def test_a_collector_that_is_not_there_neither_stops_requests_nor_the_end(tmp_path):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{taken.getsockname()[1]}"}
        with process(tmp_path, MT3_TRACING="true", **variables) as (address, log):
            httpx2.post(f"{address}{URL}", content=recording()).raise_for_status()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["logger"].startswith("opentelemetry.exporter") for line in lines)
