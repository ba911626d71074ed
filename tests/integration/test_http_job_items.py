"""Items of one job at the same time: fetched, failing and batched, without harm to each other."""

import os
import signal
import threading

import pytest

from mt3_model.spec import MT3
from service.auth.api_keys import generate_key
from service.engine.fake_backend import FakeBackend
from tests.integration.decoders import decoders
from tests.integration.job_server import URL, ended, files, job_server, submit
from tests.integration.serving import loader, recording
from tests.unit.service.jobs.http_at_hand import LocalServer, ok, redirect, reply
from tests.waiting import until


class GatheringBackend(FakeBackend):
    """Waits for permission before each iteration; records the segments of each, by their frames."""

    def __init__(self, *, slots=8):
        super().__init__(MT3, slots=slots, encode_batch=slots)
        self.go = threading.Event()
        self.iterations = []
        self._frames = {}

    def insert(self, entries):
        self._frames |= {entry.slot: entry.segment.frames for entry in entries}
        super().insert(entries)

    def step(self):
        assert self.go.wait(120)
        self.iterations.append([self._frames[slot] for slot in self._live])
        return super().step()


async def items_of(client, job):
    return (await client.get(job["links"]["items"])).json()["data"]


async def test_inputs_are_fetched_from_where_they_are_and_fail_each_for_its_own_reason(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    (music / "a.wav").write_bytes(recording(1.0))
    elsewhere = LocalServer()
    elsewhere.answers = {
        "/good.wav": ok(recording(0.5)),
        "/gone.wav": reply(404),
        "/inside.wav": redirect("http://169.254.169.254/latest/meta-data/"),
    }
    settings = {"allow_private_urls": True, "allowed_object_urls": music.as_uri()}
    async with elsewhere.running(), job_server(tmp_path, **settings) as client:
        inputs = [
            {"url": f"{elsewhere.url}/good.wav"},
            {"url": f"{elsewhere.url}/gone.wav"},
            {"url": f"{elsewhere.url}/inside.wav"},
            {"object": f"{music.as_uri()}/a.wav"},
            {"object": f"{music.as_uri()}/none.wav"},
        ]
        answer = await client.post(URL, json={"inputs": inputs})
        assert answer.status_code == 202, answer.text
        job = await ended(client, answer.json())
        items = await items_of(client, job)
        results = [
            await client.get(f"{URL}/{job['id']}/items/{number}/result") for number in range(5)
        ]
        fetched = await client.get(f"{URL}/{job['id']}/items/0/recording")
        assert (fetched.status_code, fetched.json()["code"]) == (404, "object_not_found")
    assert job["status"] == "succeeded"
    assert (job["progress"]["items_succeeded"], job["progress"]["items_failed"]) == (2, 3)
    codes = [item["error"] and item["error"]["code"] for item in items]
    assert codes == [None, "input_not_found", "input_refused", None, "input_not_found"]
    assert [item["attempts"] for item in items] == [1] * 5, "none of these may pass"
    assert [result.status_code for result in results] == [200, 409, 409, 200, 409]
    assert [results[n].json()["duration_seconds"] for n in (0, 3)] == [0.5, 1.0]
    # The message contains neither a redirect's target nor a folder of this machine.
    messages = " ".join(item["error"]["message"] for item in items if item["error"])
    assert not any(inner in messages for inner in ("169.254", "meta-data", str(tmp_path)))
    paths = sorted(path for path, _, _ in elsewhere.requests)
    assert paths == ["/gone.wav", "/good.wav", "/inside.wav"]


@pytest.mark.parametrize(
    ("number", "state", "attempts"),
    [(signal.SIGSEGV, "failed", 1), (signal.SIGKILL, "succeeded", 2)],
    ids=["crashed", "killed from outside"],
)
async def test_a_decoder_that_dies_in_mid_item_harms_no_other_item(
    tmp_path, show, number, state, attempts
):
    backend = GatheringBackend()
    async with job_server(tmp_path, load=loader(backend)) as client:
        # The long recording's decoder still runs while the device is held; those of the others have
        # ended.
        parts = [*files("a.wav"), *files("long.wav", content=recording(600.0)), *files("b.wav")]
        job = (await client.post(URL, files=parts)).json()
        engine = client.service.pipeline.engine
        await until(lambda: engine.admissions.waiting_audio_seconds >= 601 and len(decoders()) == 1)
        os.kill(decoders()[0], number)
        backend.go.set()
        job = await ended(client, job)
        items = await items_of(client, job)
        results = [
            (await client.get(f"{URL}/{job['id']}/items/{index}/result")).status_code
            for index in range(3)
        ]
    error = items[1]["error"]
    progress = job["progress"]
    show(
        f"one of 3 decoders got {number.name}: {progress['items_succeeded']} succeeded,"
        f" {progress['items_failed']} failed: {error and error['message']!r}"
    )
    assert job["status"] == "succeeded"
    assert [item["status"] for item in items] == ["succeeded", state, "succeeded"]
    assert [item["attempts"] for item in items] == [1, attempts, 1]
    if state == "failed":
        assert error["code"] == "audio_undecodable"
        assert "crashed (signal SIGSEGV)" in error["message"]
    assert results == [200, 200 if state == "succeeded" else 409, 200]
    assert decoders() == []


async def test_short_files_of_one_job_share_the_devices_iterations(tmp_path, show):
    backend = GatheringBackend()
    async with job_server(tmp_path, load=loader(backend), job_items_in_flight=8) as client:
        # Each is one segment, and each of another length: 125, 130, 135, ... frames.
        lengths = [1.0 + 0.04 * n for n in range(8)]
        parts = [part for s in lengths for part in files(f"{s}.wav", content=recording(s))]
        job = (await client.post(URL, files=parts)).json()
        # The first iteration has one or more segments and waits; the others arrive meanwhile.
        inbox = client.service.pipeline.engine._loop._inbox
        await until(lambda: inbox.qsize() >= 3 or len(backend._live) >= 3)
        backend.go.set()
        job = await ended(client, job)
    most = max(len(set(iteration)) for iteration in backend.iterations)
    show(f"8 files of one segment in {len(backend.iterations)} iterations, at most {most} in one")
    assert job["progress"]["items_succeeded"] == 8
    assert len({frames for iteration in backend.iterations for frames in iteration}) == 8
    assert most >= 3


async def test_an_uploaded_recording_is_returned_to_its_owner_only(tmp_path):
    content = recording(3.0)
    alice, bob = generate_key(), generate_key()
    async with job_server(tmp_path, api_keys=f"alice:{alice},bob:{bob}") as client:
        client.headers["X-API-Key"] = alice
        job = await submit(client, "a.wav", content=content)
        path = f"{URL}/{job['id']}/items/0/recording"
        answer = await client.get(path)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert (await client.head(path)).status_code == 200
        missing = await client.get(f"{URL}/{job['id']}/items/7/recording")
        assert missing.status_code == 404
        other = await client.get(path, headers={"X-API-Key": bob})
        assert (other.status_code, other.json()["code"]) == (404, "job_not_found")
        await client.delete(f"{URL}/{job['id']}")
        assert (await client.get(path)).status_code == 404


async def test_a_server_whose_program_fails_leaves_the_queue_to_the_next(tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with job_server(tmp_path):
            raise ZeroDivisionError
    async with job_server(tmp_path) as client:
        job = await submit(client, "a.wav")
        assert (await ended(client, job))["status"] == "succeeded"
