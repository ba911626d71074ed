"""The results of jobs: in every format, as a zip, and as events; and 202 in place of 200."""

import asyncio
import io
import json
import zipfile

import pytest

from mt3_model.export.formats import ExportFormat
from service.api.jobs.job_archive import EntryNames, safe_stem
from service.jobs.documents import describe_job
from service.jobs.job import Item, ItemSource, JobState
from service.schemas.job_event import (
    ItemCompletedEvent,
    ItemFailedEvent,
    JobCompletedEvent,
    JobProgressEvent,
    JobStatusEvent,
)
from service.schemas.transcription_response import TranscriptionResponse
from tests.integration.job_server import URL, ended, files, job_server, read_events, stored, submit
from tests.integration.serving import loader, recording, silence
from tests.unit.service.devices import HeldBackend
from tests.waiting import until

SHAPES = {
    "job.status": JobStatusEvent,
    "job.progress": JobProgressEvent,
    "item.completed": ItemCompletedEvent,
    "item.failed": ItemFailedEvent,
    "completed": JobCompletedEvent,
}


async def test_a_result_is_what_a_request_gives_in_every_form(tmp_path):
    async with job_server(tmp_path) as client:
        job = await submit(client, "a.wav", content=recording(3.0), response_format="midi")
        await ended(client, job)
        result = f"{URL}/{job['id']}/items/0/result"
        for form in ExportFormat:
            query = {"response_format": form.value}
            kept = await client.get(result, params=query)
            # As a form, because scores have the file's name as their title.
            file = ("a.wav", recording(3.0))
            at_once = await client.post("/v1/transcriptions", files={"file": file}, params=query)
            assert kept.status_code == at_once.status_code == 200, kept.text
            assert kept.headers["content-type"] == at_once.headers["content-type"]
            if form not in (ExportFormat.JSON, ExportFormat.JSONL):  # which hold ids and times
                assert kept.content == at_once.content
        document = (await client.get(result, params={"response_format": "json"})).json()
        TranscriptionResponse.model_validate(document)
        # The job's own form, unless Accept names another.
        assert (await client.get(result)).headers["content-type"] == "audio/midi"
        named = await client.get(result, headers={"Accept": "application/json"})
        assert named.headers["content-type"] == "application/json"
        assert (await client.get(result, headers={"Accept": "text/html"})).status_code == 406
        wrong = await client.get(result, params={"response_format": "mp3"})
        assert wrong.json()["param"] == "response_format"
        assert (await client.get(f"{URL}/{job['id']}/items/1/result")).status_code == 404
        for path in (tmp_path / "data" / "objects").rglob("results/*"):
            path.unlink()
        assert (await client.get(result)).json()["code"] == "object_not_found"


async def test_a_misspelled_option_of_a_result_or_a_list_is_refused(tmp_path):
    async with job_server(tmp_path) as client:
        job = await submit(client, "a.wav")
        await ended(client, job)
        for path, query in (
            (f"/{job['id']}/items/0/result", "response_fromat=midi"),
            (f"/{job['id']}/items/0/result", "response_format=midi&quantize=1/8"),
            (f"/{job['id']}/results.zip", "format=midi"),
            (f"/{job['id']}/items", "state=failed"),
            ("", "limits=5"),
        ):
            answer = await client.get(f"{URL}{path}?{query}")
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


async def test_a_result_has_its_warnings_in_headers_as_a_request_has(tmp_path):
    query = {"response_format": "midi"}
    async with job_server(tmp_path) as client:
        job = await submit(client, "a.wav", content=silence(), **query)
        await ended(client, job)
        kept = await client.get(f"{URL}/{job['id']}/items/0/result")
        at_once = await client.post("/v1/transcriptions", content=silence(), params=query)
    assert kept.headers["Transcription-Warnings"] == "silent_audio"
    for name in ("Transcription-Warnings", "Transcription-Warning-Details"):
        assert kept.headers[name] == at_once.headers[name]


async def test_the_zip_holds_a_file_for_each_result_under_a_safe_name(tmp_path):
    names = ["../../etc/passwd.wav", "a.wav", "A.WAV", "b/a.wav", "CON.wav", "items.jsonl.wav"]
    async with job_server(tmp_path) as client:
        parts = [*files(*names), ("file", ("bad.wav", b"nothing" * 99)), *files("")]
        job = (await client.post(URL, files=parts[:-1], data={"response_format": "midi"})).json()
        await ended(client, job)
        answer = await client.get(job["links"]["results"])
        assert answer.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        assert archive.testzip() is None
        assert archive.namelist() == [
            "etc_passwd.mid", "a.mid", "A-2.mid", "b_a.mid", "_CON.mid", "items.jsonl.mid",
            "items.jsonl",
        ]  # fmt: skip
        single = await client.get(f"{URL}/{job['id']}/items/1/result")
        assert archive.read("a.mid") == single.content
        lines = [json.loads(line) for line in archive.read("items.jsonl").splitlines()]
        assert [line["file"] for line in lines] == [*archive.namelist()[:-1], None]
        assert lines[-1]["error"]["code"] == "audio_undecodable"
        other = await client.get(job["links"]["results"], params={"response_format": "jsonl"})
        assert zipfile.ZipFile(io.BytesIO(other.content)).namelist()[-1] == "items.jsonl"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (None, ""), ("", ""), ("..", ""), ("../..", ""), ("/", ""), (".hidden", "hidden"),
        ("C:\\x\\y.wav", "C__x_y"), ("a\x00b.mp3", "a_b"), ("nul.txt.wav", "_nul.txt"),
        ("x" * 300, "x" * 120), ("été.wav", "été"), ("a. .wav", "a"),
        ("é" * 255, "é" * 60), ("🎹" * 255, "🎹" * 30), ("aé" + "日" * 99, "aé" + "日" * 39),
    ],
)  # fmt: skip
def test_a_name_becomes_one_that_is_safe_anywhere(name, stem):
    assert safe_stem(name) == stem


def test_no_two_entries_have_one_name():
    names = EntryNames()
    taken = [names.add(_item(n, name), ".mid") for n, name in enumerate(["a", "a", "a-2", None])]
    assert taken == ["a.mid", "a-2.mid", "a-2-2.mid", "000003.mid"]


def test_long_names_stay_short_enough_for_any_file_system_and_apart():
    names = EntryNames()
    taken = [names.add(_item(n, "日" * 254 + str(n)), ".musicxml") for n in range(12)]
    assert len(set(taken)) == 12
    assert max(len(name.encode()) for name in taken) <= 143


def _item(number, name):
    return Item(
        job_id="job_" + "0" * 24, number=number,
        source=ItemSource(kind="upload", reference="x"), name=name, state=JobState.SUCCEEDED,
        attempts=1, audio_seconds=1.0, created_at=0.0, started_at=0.0, ended_at=0.0, error=None,
        warnings=(),
    )  # fmt: skip


async def test_events_tell_of_every_item_and_can_be_taken_up_anywhere(tmp_path):
    async with job_server(tmp_path) as client:
        parts = [*files(*(f"{n}.wav" for n in range(5))), ("file", ("bad.wav", b"nothing" * 99))]
        job = (await client.post(URL, files=parts)).json()
        answer = await client.get(job["links"]["events"])  # follows the job to its end
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no", "a proxy hands each event on"
        assert answer.text.startswith("retry: 1000\n\n")
        events = read_events(answer.text)
        for name, _, data in events:
            SHAPES[name].model_validate(data)
            assert data["type"] == name
        assert sorted(d["number"] for n, _, d in events if n == "item.completed") == [0, 1, 2, 3, 4]
        assert [d["number"] for n, _, d in events if n == "item.failed"] == [5]
        states = [d["status"] for n, _, d in events if n == "job.status"]
        assert states[-1] == "succeeded"
        assert states == [s for s in ("queued", "processing", "succeeded") if s in states]
        last = events[-1]
        assert last[0] == "completed"
        assert last[2]["job"] == (await client.get(job["links"]["self"])).json()
        # From each event, resuming gives all later events once.
        items = [(n, d["number"]) for n, _, d in events if n.startswith("item.")]
        for at, (name, identity, _) in enumerate(events[:-1]):
            rest = read_events(
                (await client.get(job["links"]["events"], headers={"Last-Event-ID": identity})).text
            )
            sent = sum(1 for n, i, _ in events[: at + 1] if n.startswith("item."))
            assert [(n, d["number"]) for n, _, d in rest if n.startswith("item.")] == items[sent:]
            assert rest[-1][0] == "completed", name
        answer = await client.get(job["links"]["events"], headers={"Last-Event-ID": last[1]})
        assert (answer.status_code, answer.content) == (204, b"")
        for wrong in ("x", "1", "s-1", "q-1-1", "q-nan-1", "q-1e9-1", f"q-{'9' * 99}.0-1"):
            answer = await client.get(job["links"]["events"], headers={"Last-Event-ID": wrong})
            assert answer.json()["param"] == "Last-Event-ID"


async def test_events_come_while_the_job_goes_on_and_the_server_can_end_them(tmp_path):
    backend = HeldBackend()
    async with job_server(tmp_path, load=loader(backend), stream_heartbeat_seconds=0.2) as client:
        job = await submit(client, "a.wav")
        pieces = []
        queue = client.service.jobs.queue
        response = client._transport.app.state.job_streams.response(
            queue, await queue.get("anonymous", job["id"]), _beginning(), "anonymous"
        )

        async def follow():
            async for piece in response._events:
                pieces.append(piece.decode())  # noqa: PERF401 (looked at meanwhile)

        following = asyncio.create_task(follow())
        await until(lambda: any("processing" in piece for piece in pieces))
        await until(lambda: ": ping\n\n" in pieces)
        client._transport.app.state.job_streams.begin_draining()
        async with asyncio.timeout(400):
            await following
        assert "completed" not in "".join(pieces)
        backend.let(50)


async def test_a_caller_may_have_so_many_streams_open(tmp_path):
    backend = HeldBackend()
    async with job_server(tmp_path, load=loader(backend), max_event_streams_per_caller=2) as client:
        job = await submit(client, "a.wav")
        streams = client._transport.app.state.job_streams
        queue = client.service.jobs.queue
        now = await queue.get("anonymous", job["id"])
        # As the transport names the caller's address.
        held = [streams.response(queue, now, _beginning(), "127.0.0.1") for _ in range(2)]
        streams.response(queue, now, _beginning(), "another")
        refused = await client.get(job["links"]["events"])
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert int(refused.headers["Retry-After"]) > 0
        held.pop()
        backend.let(50)
        answer = await client.get(job["links"]["events"])
        assert answer.status_code == 200
        assert read_events(answer.text)[-1][0] == "completed"
        held.clear()
        assert not streams._open


def _beginning():
    from service.api.jobs.job_events import parse_event_cursor  # noqa: PLC0415

    return parse_event_cursor(None)


async def test_a_recording_becomes_a_job_where_that_is_preferred(tmp_path):
    async with job_server(tmp_path) as client:
        for prefer in ("respond-async", "wait=10, Respond-Async; x=1"):
            answer = await client.post(
                "/v1/transcriptions",
                files=files("a.wav"),
                data={"response_format": "midi", "end": "0.4"},
                headers={"Prefer": prefer, "Idempotency-Key": "one"},
            )
            assert answer.status_code == 202
            assert answer.headers["preference-applied"] == "respond-async"
            job = answer.json()
            assert answer.headers["location"] == f"{URL}/{job['id']}"
            assert job["response_format"] == "midi"
            assert job["options"]["end"] == 0.4
        assert len((await client.get(URL)).json()["data"]) == 1, "by the same idempotency key"
        assert (await ended(client, job))["status"] == "succeeded"
        result = await client.get(f"{URL}/{job['id']}/items/0/result")
        assert result.headers["content-type"] == "audio/midi"
        answer = await client.post(
            "/v1/transcriptions?stream=true", content=recording(),
            headers={"Prefer": "respond-async"},
        )  # fmt: skip
        assert answer.json()["param"] == "stream"
        answer = await client.post(
            "/v1/transcriptions", content=recording(), headers={"Prefer": "handling=strict"}
        )
        assert answer.status_code == 200


async def test_a_long_recording_becomes_a_job_by_itself(tmp_path):
    async with job_server(tmp_path, max_sync_audio_seconds=2.0) as client:
        short = await client.post("/v1/transcriptions", content=recording(1.5))
        assert short.status_code == 200
        answer = await client.post("/v1/transcriptions", content=recording(3.0))
        assert answer.status_code == 202
        assert "preference-applied" not in answer.headers
        assert (await ended(client, answer.json()))["progress"]["audio_seconds_done"] == 3.0
        of_range = await client.post(
            "/v1/transcriptions", content=recording(3.0), params={"end": "1"}
        )
        assert of_range.status_code == 200


async def test_a_server_without_a_model_makes_everything_a_job(tmp_path):
    async with job_server(tmp_path, worker=False) as client:
        assert (await client.get("/ready")).status_code == 200
        answer = await client.post("/v1/transcriptions", content=recording())
        assert answer.status_code == 202
        assert answer.json()["status"] == "queued"
        streamed = await client.post("/v1/transcriptions?stream=true", content=recording())
        assert streamed.json()["param"] == "stream"
        assert (await client.get("/v1/models")).json()["data"][0]["checkpoint_sha256"] is None
        assert len(stored(tmp_path)) == 1


async def test_jobs_take_no_room_from_requests(tmp_path):
    """A request is admitted even if items have used up the limit of waiting audio."""
    backend = HeldBackend()
    async with job_server(
        tmp_path, load=loader(backend), max_waiting_audio_seconds=5.0, max_open_recordings=1
    ) as client:
        job = await submit(client, "a.wav", "b.wav", "c.wav", content=recording(9.0))
        service = client.service
        await until(lambda: service.pipeline.engine.admissions.waiting_audio_seconds >= 27)
        running = asyncio.create_task(client.post("/v1/transcriptions", content=recording(1.0)))
        await until(lambda: service.pipeline.engine.admissions.waiting_audio_seconds >= 28)
        assert (await client.post("/v1/transcriptions", content=recording())).status_code == 503
        backend.let(1_000)
        assert (await running).status_code == 200
        done = await ended(client, job)
        assert done["progress"]["items_succeeded"] == 3
        items = (await client.get(job["links"]["items"])).json()["data"]
        assert [item["attempts"] for item in items] == [1, 1, 1]


async def test_what_the_documents_say_is_what_the_shapes_promise(tmp_path):
    async with job_server(tmp_path, worker=False) as client:
        body = {
            "inputs": [{"url": "https://example.org/x/a%20b.mp3?sig=1", "name": None}],
            "webhook": {"url": "https://example.org/hook", "secret": "s" * 16},
        }
        job = (await client.post(URL, json=body)).json()
        assert job["webhook"] == {"url": "https://example.org/hook", "last_delivery": None}
        assert "s" * 16 not in json.dumps(job)
        (item,) = (await client.get(job["links"]["items"])).json()["data"]
        assert item["name"] == "a b.mp3"
        queue = client.service.jobs.queue
        assert describe_job(await queue.get("anonymous", job["id"])).model_dump(mode="json") == job
