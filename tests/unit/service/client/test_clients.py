"""Both clients over a real socket: calls, retries, refusals, settings."""

import contextlib
import io
import json
import os
import socket
import threading
import time

import pytest

from service.client import (
    APIError,
    AsyncClient,
    Client,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    MT3ClientError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    ServerUnavailableError,
    TooLargeError,
    UnauthorizedError,
    UnexpectedAnswerError,
)
from tests.unit.service.client.client_calls import SOUND, in_turn
from tests.unit.service.client.documents import TRANSCRIPTION, WARNING
from tests.unit.service.client.wire import (
    NEVER,
    answer,
    json_answer,
    problem,
    wire,
)


def test_a_transcription_is_read(ask):
    with wire(in_turn(json_answer({**TRANSCRIPTION, "of_a_later_server": 1}))) as (url, requests):
        given = ask(url, "transcribe", SOUND, options={"start": 1.5, "end": None})
    assert (given.notes[0].pitch, given.notes[0].confidence) == (60, 0.9977)
    assert given.notes[2].confidence == 1.0
    assert [given.tracks[n.track].name for n in given.notes] == [
        n.instrument_name for n in given.notes
    ]
    assert given.warnings[0].message == "cut – short"
    assert given.usage.queue_seconds == 0.0
    (request,) = requests
    assert (request.method, request.path) == ("POST", "/v1/transcriptions")
    assert request.query == {"start": "1.5", "response_format": "json"}
    assert request.body == SOUND
    assert request.headers["content-length"] == str(len(SOUND))
    assert request.headers["content-type"] == "application/octet-stream"
    assert "authorization" not in request.headers


def test_a_file_of_another_form_comes_as_bytes(ask):
    with wire(in_turn(answer(body=b"MThd\0"))) as (url, requests):
        assert ask(url, "transcribe_to", SOUND, "midi") == b"MThd\0"
    assert requests[0].query == {"response_format": "midi"}


def test_the_warnings_of_a_file_are_reported_from_its_headers(ask):
    headers = {
        "Transcription_Warnings": "truncated_audio, no_notes",
        "Transcription_Warning_Details": json.dumps([WARNING]),
    }
    found = []
    with wire(in_turn(answer(body=b"MThd", **headers))) as (url, _):
        ask(url, "transcribe_to", SOUND, "midi", options={"on_warning": found.append})
        ask(url, "result_to", "job_1", 0, "midi", options={"on_warning": found.append})
    assert [(w.code, w.message, w.start) for w in found] == [
        ("truncated_audio", "cut – short", 3.5), ("no_notes", "no_notes", None)
    ] * 2  # fmt: skip


@pytest.mark.parametrize("kind", ["str", "path", "file", "pipe"])
def test_every_kind_of_recording_is_sent_whole(ask, tmp_path, kind):
    path = tmp_path / "a.wav"
    path.write_bytes(SOUND)
    with contextlib.ExitStack() as stack:
        match kind:
            case "str":
                recording = str(path)
            case "path":
                recording = path
            case "file":
                recording = stack.enter_context(path.open("rb"))
            case _:
                reading, writing = os.pipe()
                recording = stack.enter_context(os.fdopen(reading, "rb"))

                def fill():
                    with os.fdopen(writing, "wb") as file:
                        file.write(SOUND)

                threading.Thread(target=fill).start()
        with wire(in_turn(json_answer(TRANSCRIPTION))) as (url, requests):
            ask(url, "transcribe", recording)
    assert requests[0].body == SOUND
    assert ("transfer-encoding" in requests[0].headers) == (kind == "pipe")


def test_a_large_file_is_read_only_as_fast_as_it_is_sent(ask):
    class Large(io.RawIOBase):
        left = 200_000_000

        def readable(self):
            return True

        def read(self, size=-1):
            assert 0 < size <= 1 << 20
            self.left -= size
            return bytes(min(size, max(self.left + size, 0)))

    large = Large()
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes in nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def send():
            with contextlib.suppress(ConnectionFailedError):
                ask(url, "transcribe", large, max_retries=0)

        thread = threading.Thread(target=send)
        thread.start()
        connection, _ = server.accept()
        received = 0
        while received < 50_000_000:
            received += len(connection.recv(1 << 20))
            # At most what the buffers of both sockets hold.
            assert 200_000_000 - large.left - received < 50_000_000
        connection.close()
        server.close()
        thread.join()


def test_a_key_is_sent_as_a_bearer_token(ask, monkeypatch):
    with wire(in_turn(json_answer({"status": "ok"}))) as (url, requests):
        ask(url, "health", api_key="mt3-k1")
        monkeypatch.setenv("MT3_API_KEY", "mt3-k2")
        ask(url, "health")
        ask(url, "health", api_key="")
    assert [r.headers.get("authorization") for r in requests] == [
        "Bearer mt3-k1", "Bearer mt3-k2", None,
    ]  # fmt: skip


def test_a_path_of_the_address_is_kept(ask):
    with wire(in_turn(json_answer({"status": "ok"}))) as (url, requests):
        ask(f"{url}/under/here/", "health")
        ask(f"{url}/under/here", "health")
    assert {r.path for r in requests} == {"/under/here/health"}


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_passes_by_itself_is_tried_again_with_the_whole_body(ask, status):
    script = in_turn(problem(status, "x"), answer(status, b"<html>"), json_answer(TRANSCRIPTION))
    with wire(script) as (url, requests):
        ask(url, "transcribe", io.BytesIO(SOUND))
    assert [request.body for request in requests] == [SOUND] * 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequestError), (401, UnauthorizedError), (403, ForbiddenError),
        (404, NotFoundError), (405, InvalidRequestError), (409, InvalidRequestError),
        (413, TooLargeError), (415, InvalidRequestError), (422, InvalidRequestError),
        (500, ServerError), (507, ServerError),
    ],
)  # fmt: skip
def test_other_refusals_are_final_and_tell_all(ask, status, error):
    with (
        wire(in_turn(problem(status, "some_code", param="start"))) as (url, requests),
        pytest.raises(error) as caught,
    ):
        ask(url, "transcribe", SOUND)
    assert len(requests) == 1
    given = caught.value
    assert type(given) is error
    assert (given.status, given.code, given.title) == (status, "some_code", "A title")
    assert (given.detail, given.param, given.request_id) == ("a detail", "start", "r1")
    assert str(given) == "a detail (some_code)"


def test_a_body_at_fault_is_not_sent_again_whatever_the_status(ask):
    with (
        wire(in_turn(problem(503, "audio_undecodable"))) as (url, requests),
        pytest.raises(ServerUnavailableError),
    ):
        ask(url, "transcribe", SOUND)
    assert len(requests) == 1


def test_attempts_end(ask):
    with (
        wire(in_turn(problem(429, "quota_exceeded"))) as (url, requests),
        pytest.raises(RateLimitedError),
    ):
        ask(url, "transcribe", SOUND, max_retries=3)
    assert len(requests) == 4


@pytest.mark.slow
def test_retry_after_is_respected(ask):
    script = in_turn(problem(503, "overloaded", Retry_After=1), json_answer(TRANSCRIPTION))
    with wire(script) as (url, _):
        began = time.monotonic()
        ask(url, "transcribe", SOUND)
    assert time.monotonic() - began >= 1


def test_a_retry_beyond_the_time_is_not_waited_for(ask):
    script = in_turn(problem(503, "overloaded", Retry_After=60), json_answer(TRANSCRIPTION))
    with wire(script) as (url, requests), pytest.raises(ServerUnavailableError) as caught:
        ask(url, "transcribe", SOUND, timeout=30)
    assert caught.value.retry_after == 60
    assert len(requests) == 1


def test_a_dropped_connection_is_tried_again(ask):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    empty = problem(400, "empty_body")
    with wire(in_turn(b"", empty, head, empty, json_answer(TRANSCRIPTION))) as (url, requests):
        ask(url, "transcribe", SOUND)
    # After each loss the refusal that may have been lost is asked for, without the body.
    assert [len(request.body) for request in requests] == [len(SOUND), 0] * 2 + [len(SOUND)]


@pytest.mark.parametrize(("code", "status"), [("unauthenticated", 401), ("invalid_option", 422)])
def test_a_refusal_lost_with_its_connection_is_heard_all_the_same(ask, code, status):
    def script(request):
        return [b""] if request.body else [problem(status, code)]

    with wire(script) as (url, requests), pytest.raises(APIError) as caught:
        ask(url, "transcribe", SOUND)
    assert (caught.value.code, len(requests)) == (code, 2)


def test_a_lost_refusal_for_a_time_is_waited_for(ask):
    bodies = iter([[b""], [problem(503, "overloaded")], [json_answer(TRANSCRIPTION)]])
    with wire(lambda _: next(bodies)) as (url, requests):
        ask(url, "transcribe", SOUND)
    assert len(requests) == 3


def test_an_upload_that_breaks_off_each_time_is_told_with_its_size(ask):
    def script(request):
        return [b""] if request.body else [problem(400, "empty_body")]

    with (
        wire(script) as (url, _),
        pytest.raises(ConnectionFailedError, match=r"150,000 bytes \(is it too large\?\)"),
    ):
        ask(url, "transcribe", SOUND, max_retries=1)


def test_a_pipe_is_sent_once(ask):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, wire(in_turn(problem(503, "overloaded"))) as served:
        os.write(writing, b"sound")
        os.close(writing)
        url, requests = served
        with pytest.raises(ServerUnavailableError):
            ask(url, "transcribe", file)
    assert [request.body for request in requests] == [b"sound"]


def test_a_server_that_is_not_there(ask):
    with wire(in_turn(b"")) as (url, _):
        pass
    with pytest.raises(ConnectionFailedError, match=r"no answer from 127\.0\.0\.1:\d+: "):
        ask(url, "transcribe", SOUND, max_retries=1)


def test_a_silent_server_is_given_up_in_time(ask):
    with wire(lambda _: [NEVER]) as (url, requests), pytest.raises(ConnectionFailedError):
        ask(url, "transcribe", SOUND, timeout=0.3)
    assert len(requests) == 1


def test_a_redirect_is_not_followed(ask):
    with (
        wire(in_turn(answer(302, Location="http://elsewhere.example/"))) as (url, requests),
        pytest.raises(UnexpectedAnswerError, match=r"elsewhere\.example"),
    ):
        ask(url, "models", api_key="k")
    assert len(requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": [{"id": 1}]}'])
def test_the_answer_of_something_else_is_told(ask, body):
    with wire(in_turn(answer(body=body))) as (url, _), pytest.raises(UnexpectedAnswerError):
        ask(url, "models")


def test_a_file_that_is_not_there_is_said_before_the_server_is_asked(ask, tmp_path):
    with wire(in_turn(json_answer(TRANSCRIPTION))) as (url, requests):
        for call in ("transcribe", "stream"):
            with pytest.raises(FileNotFoundError):
                ask(url, call, tmp_path / "none.wav")
    assert requests == []


def test_models_and_instruments(ask):
    model = {
        "id": "mt3", "object": "model", "state": "ready", "checkpoint_sha256": "c0ffee",
        "code_version": "0.1.0", "segment_seconds": 2.048, "sample_rate": 16000,
    }  # fmt: skip
    with wire(in_turn(json_answer({"object": "list", "data": [model]}))) as (url, _):
        assert ask(url, "models")[0].segment_seconds == 2.048
    piano = {"program": 0, "name": "Acoustic Grand Piano", "family": "Piano"}
    with wire(in_turn(json_answer({"object": "list", "data": [piano]}))) as (url, _):
        assert ask(url, "instruments")[0].family == "Piano"


def test_readiness_is_an_answer_and_not_an_error(ask):
    with wire(in_turn(problem(503, "not_ready", state="warming"))) as (url, requests):
        readiness = ask(url, "ready")
    assert (readiness.state, readiness.is_ready) == ("warming", False)
    assert len(requests) == 1
    with wire(in_turn(json_answer({"state": "ready"}))) as (url, _):
        assert ask(url, "ready").is_ready
    with wire(in_turn(answer(503, b"gateway"))) as (url, _), pytest.raises(ServerUnavailableError):
        ask(url, "ready")


def test_waiting_for_a_server_that_starts(ask):
    loading = problem(503, "not_ready", state="loading", Retry_After=0)
    with wire(in_turn(b"", loading, loading, json_answer({"state": "ready"}))) as (url, requests):
        ask(url, "wait_until_ready")
    assert len(requests) == 4


def test_waiting_ends(ask):
    loading = problem(503, "not_ready", state="loading", Retry_After=0)
    with wire(in_turn(loading)) as (url, _), pytest.raises(ServerUnavailableError):
        ask(url, "wait_until_ready", 0.2)
    failed = problem(503, "not_ready", state="failed")
    with wire(in_turn(failed)) as (url, requests), pytest.raises(ServerUnavailableError):
        ask(url, "wait_until_ready")
    assert len(requests) == 1


def test_threads_share_a_client():
    with wire(in_turn(json_answer(TRANSCRIPTION))) as (url, requests), Client(url) as client:
        threads = [
            threading.Thread(target=lambda: client.transcribe(io.BytesIO(SOUND))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [request.body for request in requests] == [SOUND] * 8


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "localhost:8000"}, {"base_url": "ftp://host"}, {"base_url": "http://"},
        {"timeout": 0}, {"max_retries": -1}, {"api_key": "a\n"}, {"api_key": "a b"},
        {"api_key": "ä"},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(client, settings):
    with pytest.raises(ValueError, match=next(iter(settings)).replace("api_key", "API key")):
        client(**settings)


def test_a_key_is_not_shown():
    with Client(api_key="mt3-secret") as client:
        assert "secret" not in repr(client) + repr(vars(client))


def test_every_error_is_of_the_one_tree():
    assert issubclass(ServerUnavailableError, ServerError)
    assert all(
        issubclass(error, MT3ClientError)
        for error in (ConnectionFailedError, UnexpectedAnswerError, RateLimitedError)
    )
