"""Each check of the harness reports a server or code that is wrong."""

import asyncio
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fuzz import parts
from tests.fuzz.report import PartReport, is_clean, to_json, to_table
from tests.fuzz.running_server import Census, RunningServer
from tests.fuzz.targets import fuzzing, multipart
from tests.fuzz.wire import Wire


class Broken(BaseHTTPRequestHandler):
    """Answers every request but `/health` with 500."""

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 500)

    def do_POST(self):
        self.answer(500)

    def answer(self, status):
        body = b'{"code":"internal_error"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(name="broken")
def _broken():
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield RunningServer(f"http://127.0.0.1:{listening.server_port}", None)
        listening.shutdown()
        thread.join()


def census(**changed):
    counts = {"resident_bytes": 100, "open_files": 3, "children": 0, "upload_files": 0}
    return Census(**counts | changed, descriptors=())


def test_a_500_is_counted_and_a_failed_good_request_is_reported(broken):
    with parts.measured(broken, "anything", []) as report:

        async def ask():
            wire = await Wire.open(broken.host, broken.port)
            await wire.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            await wire.receive(5, whole_answers=1)
            wire.count_answers(report)
            await wire.close()

        asyncio.run(ask())
    assert report.answers == {"500 internal_error": 1}
    assert any("5xx" in violation for violation in report.violations)
    assert any("not transcribed any more" in violation for violation in report.violations)
    assert not is_clean([report])


def test_a_server_that_has_ended_is_reported():
    gone = RunningServer("http://127.0.0.1:9", None)
    assert not gone.is_alive()
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(parts.measured(gone, "anything", []))
    assert any("not transcribed" in violation for violation in report.violations)


def test_a_report_is_written_as_json_and_as_a_table():
    part = PartReport(name="x", tried=2, before=census(), after=census())
    part.count(200)
    part.count(500, "internal_error")
    part.conclude()
    document = json.loads(to_json([part], seed=1))
    assert (document["seed"], document["clean"]) == (1, False)
    assert document["parts"][0]["answers"] == {"200": 1, "500 internal_error": 1}
    assert "VIOLATION" in to_table([part])


def test_refusals_are_no_server_errors():
    report = PartReport(name="x")
    report.count(503, "overloaded")
    report.count(507, "no_storage")
    assert report.server_errors == 0
    report.count(503, "engine_failure")
    assert report.server_errors == 1


@pytest.mark.parametrize(
    "after", [{"open_files": 4}, {"children": 1}, {"upload_files": 1}, {"resident_bytes": 111}]
)
def test_leaks_are_reported(after):
    report = PartReport(name="x", before=census(), after=census(**after))
    report.check_leaks(memory_margin_bytes=10)
    assert len(report.violations) == 1


def test_faults_in_the_log_are_reported(tmp_path):
    log = tmp_path / "log"
    log.write_text('{"event": "request_finished"}\n{"event": "request_failed"}\n')
    assert RunningServer("http://x", None, log=log).faults() == ['{"event": "request_failed"}']


def test_a_receiver_that_depends_on_the_pieces_is_found(monkeypatch):
    def feed(self, data):
        self.fields.append(("piece", str(len(data))))
        self.is_complete = self.has_file = True

    monkeypatch.setattr(multipart.multipart.MultipartReceiver, "feed", feed)
    with pytest.raises(fuzzing.Violation):
        multipart.check(b"\x01;boundary=B\nxyz")
