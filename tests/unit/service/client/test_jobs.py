"""Both clients' jobs over a real socket: submitted once, listed whole, fetched, waited for."""

import io
import json
from datetime import UTC, datetime

import pytest

from service.client import (
    ConnectionFailedError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    UnauthorizedError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from tests.unit.service.client.client_calls import SOUND, in_turn
from tests.unit.service.client.documents import TRANSCRIPTION
from tests.unit.service.client.job_server import (
    FAILED,
    JOB_ID,
    JobServer,
    item,
    job,
    parts,
    progress,
    stream,
)
from tests.unit.service.client.wire import NEVER, answer, json_answer, problem, stream_head, wire


def test_files_go_as_one_form_with_their_names(ask, tmp_path):
    path = tmp_path / 'ä "b".wav'
    path.write_bytes(SOUND)
    with wire(JobServer("x")) as (url, requests):
        given = ask(
            url, "submit", [path, b"bare", io.BytesIO(b"open")],
            options={
                "decoding": "greedy", "start": None, "end": 2.5, "metadata": {"n": [1]},
                "webhook_url": "https://h.example/", "webhook_secret": "s" * 16,
                "expires_in": 60, "response_format": "midi",
            },
        )  # fmt: skip
    (request,) = requests
    assert (given.id, given.status) == ("job_1", "succeeded")
    assert given.created_at == datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
    assert (request.method, request.path, request.query) == ("POST", "/v1/jobs", {
        "decoding": "greedy", "end": "2.5", "response_format": "midi",
    })  # fmt: skip
    assert len(request.headers["idempotency-key"]) >= 32
    assert int(request.headers["content-length"]) == len(request.body)
    sent = parts(request)
    assert {name: value.decode() for name, _, value in sent if name != "file"} == {
         "metadata": '{"n": [1]}', "expires_in_seconds": "60",
        "webhook_url": "https://h.example/", "webhook_secret": "s" * 16,
    }  # fmt: skip
    # Fields first, so that they can be refused before the files are sent.
    assert [name for name, _, _ in sent[-3:]] == ["file"] * 3
    assert [content for _, _, content in sent[-3:]] == [SOUND, b"bare", b"open"]
    assert 'filename="ä %22b%22.wav"'.encode() in request.body
    assert [name for _, name, _ in sent[-2:]] == [None, None]


def test_names_may_be_given_and_are_kept_with_their_folders(ask, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    with wire(JobServer("x")) as (url, requests):
        ask(url, "submit", {"one/a.wav": tmp_path / "a", "two/a.wav": b"b"})
        ask(url, "submit", str(tmp_path / "a"))
        ask(url, "submit", iter([tmp_path / "a"]))
    assert [(name, body) for _, name, body in parts(requests[0])] == [
        ("one/a.wav", b"a"), ("two/a.wav", b"b"),
    ]  # fmt: skip
    assert [parts(request) for request in requests[1:]] == [[("file", "a", b"a")]] * 2


def test_addresses_go_as_json(ask):
    with wire(JobServer("x")) as (url, requests):
        ask(
            url, "submit",
            options={
                "urls": ["https://h.example/a.mp3"], "objects": ["s3://b/k"], "end": 2.5,
                "webhook_url": "https://h.example/", "model": None, "expires_in": 60.5,
            },
        )  # fmt: skip
    assert requests[0].headers["content-type"] == "application/json"
    assert json.loads(requests[0].body) == {
        "inputs": [{"url": "https://h.example/a.mp3"}, {"object": "s3://b/k"}],
        "options": {"end": 2.5}, "webhook": {"url": "https://h.example/"},
        "expires_in_seconds": 60.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (None, {}), (b"a", {"urls": ["u"]}), (b"a", {"objects": ["o"]}),
        (b"a", {"webhook_secret": "s"}),
    ],
)  # fmt: skip
def test_a_submission_that_cannot_be_is_refused_here(ask, files, options):
    with wire(JobServer()) as (url, requests), pytest.raises(ValueError, match=r"expected|needs"):
        ask(url, "submit", files, options=options)
    assert requests == []


@pytest.mark.parametrize("options", [{}, {"idempotency_key": "mine"}])
def test_a_submission_whose_answer_is_lost_is_not_made_twice(ask, options):
    server = JobServer("x")
    server.losing = [("POST", "/v1/jobs")]
    with wire(server) as (url, requests):
        assert ask(url, "submit", SOUND, options=options).id == "job_1"
    assert len(server.submitted) == 1
    # The whole, the question whether it was refused (under no key), and the same whole again.
    whole, bare, again = requests
    assert (whole.body, whole.headers) == (again.body, again.headers)
    assert "idempotency-key" not in bare.headers
    assert "file" not in [name for name, _, _ in parts(bare)]


def test_two_submissions_are_two(ask):
    server = JobServer("x")
    with wire(server) as (url, _):
        assert ask(url, "submit", SOUND).id != ask(url, "submit", SOUND).id


def test_addresses_whose_answer_is_lost_are_sent_again_as_they_were(ask):
    server = JobServer("x")
    server.losing = [("POST", "/v1/jobs")]
    with wire(server) as (url, requests):
        ask(url, "submit", options={"urls": ["https://h.example/"]})
    assert len(requests) == 2
    assert requests[0].headers["idempotency-key"] == requests[1].headers["idempotency-key"]
    assert len(server.submitted) == 1


def test_a_refusal_lost_in_a_long_form_is_heard_all_the_same(ask):
    def script(request):
        return [problem(401, "unauthenticated")] if len(request.body) < 1_000 else [b""]

    with wire(script) as (url, requests), pytest.raises(UnauthorizedError):
        ask(url, "submit", SOUND)
    assert len(requests) == 2


def test_another_body_under_a_key_is_told(ask):
    with (
        wire(in_turn(problem(422, "idempotency_conflict"))) as (url, requests),
        pytest.raises(InvalidRequestError, match="idempotency_conflict"),
    ):
        ask(url, "submit", SOUND, options={"idempotency_key": "k"})
    assert len(requests) == 1


def test_lists_are_asked_for_page_by_page(ask):
    server = JobServer(*(f"{n}.wav" for n in range(2_500)))
    server.jobs = [job(f"job_{n}") for n in range(130)]
    with wire(server) as (url, requests):
        items = ask(url, "items", JOB_ID)
        assert [entry.number for entry in items] == list(range(2_500))
        assert [r.query for r in requests] == [
            {"limit": "1000"}, {"limit": "1000", "after": "1000"},
            {"limit": "1000", "after": "2000"},
        ]  # fmt: skip
        del requests[:]
        assert len(ask(url, "jobs", options={"limit": 120, "status": "queued"})) == 120
        assert [r.query["limit"] for r in requests] == ["100", "20"]
        assert {r.query["status"] for r in requests} == {"queued"}
        assert len(ask(url, "jobs")) == 130
        assert ask(url, "items", JOB_ID, options={"status": "failed"}) == []


def test_jobs_are_changed_and_removed(ask):
    with wire(JobServer("x")) as (url, requests):
        assert ask(url, "cancel", JOB_ID).id == JOB_ID
        assert ask(url, "retry", JOB_ID).id == JOB_ID
        assert ask(url, "job", JOB_ID).id == JOB_ID
        assert ask(url, "item", JOB_ID, 0).name == "x"
        assert ask(url, "delete", JOB_ID) is None
    path = f"/v1/jobs/{JOB_ID}"
    assert [(r.method, r.path) for r in requests] == [
        ("POST", f"{path}/cancel"), ("POST", f"{path}/retry"), ("GET", path),
        ("GET", f"{path}/items/0"), ("DELETE", path),
    ]  # fmt: skip


def test_a_removal_whose_answer_is_lost_is_done(ask):
    with wire(in_turn(b"", problem(404, "job_not_found"))) as (url, requests):
        ask(url, "delete", JOB_ID)
    assert len(requests) == 2
    with wire(in_turn(problem(404, "job_not_found"))) as (url, _), pytest.raises(NotFoundError):
        ask(url, "delete", JOB_ID)


@pytest.mark.parametrize("job_id", ["", "a/b", "..", "a?b", "é", "a" * 129])
def test_an_id_that_is_none_is_not_asked_for(ask, job_id):
    with wire(JobServer()) as (url, requests):
        for call in ("job", "cancel", "items", "events", "wait"):
            with pytest.raises(ValueError, match="job_id"):
                ask(url, call, job_id)
    assert requests == []


def test_results_come_as_values_and_files(ask, tmp_path):
    with wire(in_turn(json_answer(TRANSCRIPTION))) as (url, requests):
        assert ask(url, "result", JOB_ID, 2).notes[0].pitch == 60
    assert requests[0].path == f"/v1/jobs/{JOB_ID}/items/2/result"
    assert requests[0].query == {"response_format": "json"}
    with wire(JobServer("x")) as (url, _):
        assert ask(url, "result_to", JOB_ID, 0, "midi") == f"midi {JOB_ID} 0".encode()
        ask(url, "results_zip", JOB_ID, tmp_path / "all.zip", "piano_roll")
        ask(url, "results_zip", JOB_ID, str(tmp_path / "as.zip"))
    assert (tmp_path / "all.zip").read_bytes() == b"PKpiano_roll"
    assert (tmp_path / "as.zip").read_bytes() == b"PK"


def test_a_zip_that_breaks_off_is_begun_again_and_never_half_there(ask, tmp_path):
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000)
    with wire(in_turn(half, half, answer(body=b"whole"))) as (url, requests):
        ask(url, "results_zip", JOB_ID, tmp_path / "a.zip")
    assert len(requests) == 3
    assert (tmp_path / "a.zip").read_bytes() == b"whole"
    with wire(in_turn(half)) as (url, _), pytest.raises(ConnectionFailedError):
        ask(url, "results_zip", JOB_ID, tmp_path / "b.zip", max_retries=1)
    with wire(in_turn(answer(body=b"x"))) as (url, _), pytest.raises(OSError, match="none"):
        ask(url, "results_zip", JOB_ID, tmp_path / "none" / "c.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


EVENTS = [
    ("job.status", {"status": "processing", "at": "2026-11-21T07:30:01.000Z"}),
    ("item.completed", item(0)),
    ("item.failed", item(1, "b.wav", "failed", error=FAILED)),
    ("of.a.later.server", {}),
    ("job.progress", progress(2, 1, 1)),
    ("completed", {"job": job(status="succeeded", progress=progress(2, 1, 1))}),
]


def test_events_are_given_as_values(ask):
    with wire(lambda _: [stream(*EVENTS)]) as (url, requests):
        events = ask(url, "events", JOB_ID)
    assert [event.kind for event in events] == [kind for kind, _ in EVENTS]
    assert events[0].status == "processing"
    assert events[2].item.error.code == "audio_undecodable"
    assert events[4].progress.items_failed == 1
    assert events[5].job.is_ended
    assert requests[0].path == f"/v1/jobs/{JOB_ID}/events"


@pytest.mark.parametrize("cut", range(1, len(EVENTS)))
def test_events_cut_anywhere_go_on(ask, cut):
    whole = stream(*EVENTS)[len(stream_head()) :]
    messages = [message + b"\n\n" for message in whole.split(b"\n\n")[:-1]]

    def script(request):
        seen = int(request.headers.get("last-event-id", 0))
        yield stream_head() + b"retry: 1\n\n"
        yield from messages[seen:] if seen else messages[:cut]

    with wire(script) as (url, requests):
        events = ask(url, "events", JOB_ID)
    assert [event.kind for event in events] == [kind for kind, _ in EVENTS]
    assert [r.headers.get("last-event-id") for r in requests] == [None, str(cut)]


def test_an_answer_that_is_no_stream_is_told(ask):
    with wire(in_turn(json_answer({}))) as (url, _), pytest.raises(UnexpectedAnswerError):
        ask(url, "events", JOB_ID)


def test_waiting_listens_and_tells(ask):
    states = iter([job(status="queued")])
    last = EVENTS[-1][1]["job"]

    def script(request):
        if request.path.endswith("/events"):
            return [stream(*EVENTS)]
        return [json_answer(next(states, last))]

    reported = []
    with wire(script) as (url, requests):
        given = ask(url, "wait", JOB_ID, options={"progress": reported.append})
    assert given.status == "succeeded"
    assert [(j.status, j.progress.items_done) for j in reported] == [
        ("queued", 0), ("processing", 0), ("processing", 2), ("succeeded", 2),
    ]  # fmt: skip
    assert [r.path.rpartition("/")[2] for r in requests] == [JOB_ID, "events", JOB_ID]


def test_waiting_ends_with_its_time(ask):
    with (
        wire(in_turn(json_answer(job(status="queued")))) as (url, requests),
        pytest.raises(WaitTimeoutError, match=r"queued with 0 of 3 items done after 0\.2 s"),
    ):
        ask(url, "wait", JOB_ID, options={"timeout": 0.2})
    assert len(requests) <= 3


@pytest.mark.parametrize("kind", [Exception, ConnectionFailedError, UnexpectedAnswerError])
def test_a_wait_that_is_left_lets_go_of_its_connection(ask, kind):
    def script(request):
        return [stream(EVENTS[0]), NEVER] if "events" in request.path else [json_answer(job())]

    class LeftError(kind):
        pass

    def leave(given):
        if given.status == "processing":
            raise LeftError("left")

    with wire(script) as (url, _), pytest.raises(LeftError):
        ask(url, "wait", JOB_ID, options={"progress": leave})


def test_what_a_server_makes_a_job_of_is_waited_for(ask):
    done = JobServer("x")

    def script(request):
        if request.path == "/v1/transcriptions":
            return [json_answer(job("job_7"), 202, Location="/v1/jobs/job_7")]
        if request.path.endswith("/result"):
            return [json_answer(TRANSCRIPTION)]
        return done(request)

    with wire(script) as (url, requests):
        assert ask(url, "transcribe", SOUND).notes[0].pitch == 60
    assert requests[-1].path == "/v1/jobs/job_7/items/0/result"
    done.items = [item(0, status="failed", error=FAILED)]
    with (
        wire(script) as (url, _),
        pytest.raises(JobFailedError, match=r"not audio \(audio_undecodable\)") as caught,
    ):
        ask(url, "transcribe", SOUND)
    assert (caught.value.code, caught.value.job_id) == ("audio_undecodable", "job_7")
