"""The clients' jobs and `mt3 jobs` against the real server, over a socket; the backend is fake."""

import asyncio
import contextlib
import json
import os
import signal
import zipfile

import pytest

from service.cli import main
from service.client import (
    AsyncClient,
    Client,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
    verify_webhook,
)
from tests.integration.listening import listening
from tests.integration.processes import server_process
from tests.integration.serving import recording
from tests.unit.service.jobs.ports import free_port
from tests.waiting import wait_until

SOUND = recording(5.0)
KEY = "mt3_" + "a" * 40


@contextlib.asynccontextmanager
async def address(tmp_path, **settings):
    (tmp_path / "uploads").mkdir(exist_ok=True)
    settings = {"jobs": True, "data_dir": tmp_path / "data", **settings}
    async with listening(tmp_path / "uploads", **settings) as (port, _):
        yield f"http://127.0.0.1:{port}"


async def test_files_become_results(tmp_path):
    (tmp_path / "ä.wav").write_bytes(SOUND)
    async with address(tmp_path) as url, AsyncClient(url) as client:
        files = {"one/ä.wav": tmp_path / "ä.wav", "bad.wav": b"not audio", "two.wav": SOUND}
        job = await client.submit(
            files, start=1, metadata={"album": ["x", 1]}, response_format="midi", expires_in=3_600
        )
        reported = []
        ended = await client.wait(job.id, timeout=400, progress=reported.append)
        assert (ended.status, ended.metadata) == ("succeeded", {"album": ["x", 1]})
        assert (ended.expires_at - ended.ended_at).total_seconds() == pytest.approx(3_600, abs=2)
        assert (ended.progress.items_succeeded, ended.progress.items_failed) == (2, 1)
        assert reported[-1] == ended
        assert ended.options.start == 1.0
        items = [item async for item in client.items(job.id)]
        assert [item.name for item in items] == list(files)
        assert items[1].error.code == "audio_undecodable"
        assert [i.number async for i in client.items(job.id, status="failed")] == [1]
        assert (await client.item(job.id, 2)).audio_seconds
        given = await client.result(job.id, 0)
        assert given.notes == (await client.transcribe(SOUND, start=1)).notes
        assert (await client.result_to(job.id, 2, "midi")).startswith(b"MThd")
        with pytest.raises(InvalidRequestError) as caught:
            await client.result(job.id, 1)
        assert caught.value.status == 409
        await client.results_zip(job.id, tmp_path / "all.zip")
        with zipfile.ZipFile(tmp_path / "all.zip") as archive:
            assert sum(name.endswith(".mid") for name in archive.namelist()) == 2
        events = [event async for event in client.events(job.id)]
        assert [e.item.number for e in events if e.kind == "item.failed"] == [1]
        assert sorted(e.item.number for e in events if e.kind == "item.completed") == [0, 2]
        assert (events[-1].kind, events[-1].job) == ("completed", ended)
        again = await client.retry(job.id)
        assert again.progress.items_failed == 0
        await client.wait(job.id, timeout=400)
        await client.delete(job.id)
        with pytest.raises(NotFoundError):
            await client.job(job.id)


async def test_a_key_makes_a_submission_once_and_another_body_is_refused(tmp_path):
    async with address(tmp_path) as url, AsyncClient(url) as client:
        first = await client.submit({"a.wav": SOUND}, idempotency_key="k")
        again = await client.submit({"a.wav": SOUND}, idempotency_key="k")
        assert again.id == first.id
        with pytest.raises(InvalidRequestError):
            await client.submit({"a.wav": SOUND + b"x"}, idempotency_key="k")
        assert [job.id async for job in client.jobs()] == [first.id]
        assert (await client.cancel(first.id)).status in ("canceled", "succeeded")


async def test_a_refusal_reaches_who_sends_much(tmp_path):
    many = [bytes(2_000_000)] * 5
    async with address(tmp_path, api_keys=f"ada:{KEY}", max_job_items=3) as url:
        async with AsyncClient(url, api_key="mt3_" + "b" * 40) as client:
            with pytest.raises(UnauthorizedError):
                await client.submit(many)
        async with AsyncClient(url, api_key=KEY) as client:
            with pytest.raises(InvalidRequestError) as caught:
                await client.submit(many, end=-1)
            assert caught.value.param == "end"


async def test_a_thousand_files_are_one_job(tmp_path):
    async with address(tmp_path) as url, AsyncClient(url) as client:
        files = {f"some folder/{n:04}.wav": b"not audio" for n in range(1_000)}
        job = await client.submit(files)
        assert job.progress.items_total == 1_000
        names = [item.name async for item in client.items(job.id)]
        assert names == list(files)
        await client.cancel(job.id)


async def test_a_long_recording_becomes_a_job_and_is_waited_for(tmp_path):
    async with address(tmp_path, max_sync_audio_seconds=2.0) as url, AsyncClient(url) as client:
        short = await client.transcribe(recording(1.0))
        long = await client.transcribe(SOUND)
        assert long.duration_seconds > 4 > short.duration_seconds
        assert (await client.transcribe_to(SOUND, "midi")).startswith(b"MThd")
        assert len([job async for job in client.jobs()]) == 2


def test_a_wait_survives_the_server(tmp_path):
    settings = {
        "MT3_JOBS": "true",
        "MT3_DATA_DIR": str(tmp_path / "data"),
        "MT3_FAKE_ITERATION_SECONDS": "0.1",
        "MT3_PORT": str(free_port()),  # for both, one after the other
    }
    with server_process(tmp_path, **settings) as first:
        with Client(first.address) as client:
            client.wait_until_ready()
            job = client.submit({f"{n}.wav": recording(20.0) for n in range(6)})
            wait_until(lambda: client.job(job.id).progress.items_done)
        reported, threads = [], []

        def begin_again(seen):
            reported.append(seen)
            if len(reported) == 1:
                first.process.send_signal(signal.SIGKILL)
                first.process.wait()
                threads.append(restarted.enter_context(server_process(tmp_path, **settings)))

        with contextlib.ExitStack() as restarted, Client(first.address) as client:
            ended = client.wait(job.id, timeout=400, progress=begin_again)
            assert ended.progress.items_succeeded == 6
            assert len(reported) > 1


def test_the_command_from_a_folder_to_results(tmp_path, capsys):
    album = tmp_path / "album"
    (album / "live").mkdir(parents=True)
    for name in ("a.wav", "live/a.wav"):
        (album / name).write_bytes(SOUND)
    (album / "bad.wav").write_bytes(b"not audio")

    def run(*arguments):
        return main(["jobs", *map(str, arguments), "--server", server.address])

    # A server of its own process: DBOS's logger would keep the standard error of capsys.
    with server_process(tmp_path, MT3_JOBS="true", MT3_DATA_DIR=str(tmp_path / "data")) as server:
        server.wait_ready()
        assert run("submit", album, "--metadata", "x=y") == 0
        (job_id,) = capsys.readouterr().out.split()
        assert run("wait", job_id, "--json") == 1
        out, err = capsys.readouterr()
        assert json.loads(out)["metadata"] == {"x": "y"}
        assert f"{job_id}: bad.wav: " in err
        out_folder = tmp_path / "out"
        assert run("fetch", job_id, "-o", out_folder) == 1
        written = sorted(p.relative_to(out_folder).as_posix() for p in out_folder.rglob("*.mid"))
        assert written == ["a.mid", "live/a.mid"]
        os.utime(out_folder / "a.mid", (1, 1))
        assert run("fetch", job_id, "-o", out_folder) == 1
        assert (out_folder / "a.mid").stat().st_mtime == 1
        assert run("retry", job_id) == 0
        assert run("list", "--status", "failed") == 0
        assert run("cancel", job_id) == 0
        assert run("delete", job_id) == 0
        assert run("status", job_id) == 1
        assert run("submit", album / "a.wav", "--end", "-1") == 2
    assert "end is" in capsys.readouterr().err


async def test_a_webhook_is_believed(tmp_path):
    received = asyncio.get_running_loop().create_future()
    secret = "whsec_0123456789abcdef"

    async def receive(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in head)
        lower = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(lower["content-length"]))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        if not received.done():
            received.set_result((body, headers))

    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    hook = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/done"
    async with receiver, address(tmp_path, allow_private_urls=True) as url:
        async with AsyncClient(url) as client:
            job = await client.submit(SOUND, webhook_url=hook, webhook_secret=secret)
            body, headers = await asyncio.wait_for(received, 120)
        event = verify_webhook(body, headers, secret)
    assert (event.event, event.job.id) == ("job.succeeded", job.id)
    assert event.delivery
