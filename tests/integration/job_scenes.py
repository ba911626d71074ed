"""Everything that happens to jobs and that a metric counts, for `test_metrics.py`."""

import asyncio
import contextlib
import os
import time

from tests.integration.serving import loader, recording
from tests.unit.service.devices import HeldBackend, PoisonedBackend
from tests.waiting import until

URL = "/v1/jobs"
SECRET = "s" * 16


async def do_jobs(watch, tmp_path):
    """Run jobs whose items wait, succeed, fail and are retried, and that the sweep deletes."""
    backend = HeldBackend()
    async with serving_jobs(watch, tmp_path / "a", load=loader(backend)) as client:
        job = await submit(client, [recording()] * 9)
        value = client.service.metrics.registry.get_sample_value
        await until(lambda: value("mt3_job_queue_age_seconds") > 0)
        await until(lambda: backend.inserted)
        await until(lambda: value("mt3_job_items", {"state": "processing"}))
        await client.post(f"{URL}/{job['id']}/cancel")
        await until(lambda: value("mt3_job_items_ended_total", {"outcome": "canceled"}))
        backend.let(1_000)
    async with serving_jobs(watch, tmp_path / "b") as client:
        await end(client, await submit(client, [recording(), b"no sound" * 99]))
        await sweep_all(client)
    async with serving_jobs(watch, tmp_path / "c", load=loader(PoisonedBackend(0))) as client:
        await submit(client, [recording()])
        value = client.service.metrics.registry.get_sample_value
        await until(lambda: value("mt3_job_items_ended_total", {"outcome": "retried"}))


async def tell_of_jobs(watch, tmp_path):
    """Send webhooks that are accepted, refused, and to be retried."""
    async with (
        receiver() as address,
        serving_jobs(watch, tmp_path, allow_private_urls=True) as client,
    ):
        for status in (200, 404, 500):
            hook = {"webhook_url": f"{address}/{status}", "webhook_secret": SECRET}
            await end(client, await submit(client, [recording()], **hook))
        value = client.service.metrics.registry.get_sample_value
        for outcome in ("delivered", "failed", "retried"):
            await until(lambda o=outcome: value("mt3_webhook_deliveries_total", {"outcome": o}))


@contextlib.asynccontextmanager
async def serving_jobs(watch, folder, **options):
    folder.mkdir(exist_ok=True)
    async with watch.serving(folder, jobs=True, data_dir=folder / "data", **options) as client:
        client.folder = folder
        yield client


async def submit(client, recordings, **fields):
    files = [("file", (f"{n}.wav", content)) for n, content in enumerate(recordings)]
    answer = await client.post(URL, files=files, data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def end(client, job):
    async with asyncio.timeout(400):
        while (await client.get(job["links"]["self"])).json()["ended_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def sweep_all(client):
    """Set the state after a month: results expired, one recording left without its job."""
    orphan = client.folder / "data" / "objects" / "jobs" / f"job_{'0' * 24}" / "inputs" / "000000"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    month = 30 * 86_400
    os.utime(orphan, (time.time() - month, time.time() - month))
    await client.service.jobs.sweep(time.time() + month)


@contextlib.asynccontextmanager
async def receiver():
    """Run a server that answers with the status that the path names; yield its address."""

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split()[1].removeprefix(b"/")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().splitlines()
            if line.startswith(b"content-length:")
        )  # fmt: skip
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 " + status + b" x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
