"""Every metric changes when it should: the tests drive servers through all situations."""

import asyncio
import contextlib
import threading

import pytest

from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.observability.metrics import Metrics
from tests.integration.job_scenes import do_jobs, tell_of_jobs
from tests.integration.serving import loader, recording, serving
from tests.unit.service.devices import (
    DyingBackend,
    HangingBackend,
    HeldBackend,
    NumberlessBackend,
    PoisonedBackend,
    running,
    transcribe,
)
from tests.waiting import until

URL = "/v1/transcriptions"
UNMOVED = {
    ("mt3_job_takeovers_total",): "needs Postgres and a dead worker: jobs/test_processes.py",
    ("mt3_job_fault", "database"): "needs a damaged database: unit/service/jobs",
    ("mt3_job_fault", "storage"): "needs another deployment's storage: unit/service/jobs",
    ("mt3_job_fault", "sweep"): "needs a storage that is mostly orphans: unit/service/jobs",
    ("mt3_swept_total", "mended"): "needs a database that lost something: unit/service/jobs",
}
"""Metrics that no request to a server can change, each with the reason."""


def samples(metrics):
    """Return the metrics' values by name and label values; of a histogram its count, of an info its
    labels.
    """
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if not family.name.startswith("mt3_") or sample.name.endswith(("_bucket", "_sum")):
                continue
            if family.type == "info":
                found[(sample.name,)] = sample.labels
            else:
                found[(sample.name, *sample.labels.values())] = sample.value
    return found


AT_FIRST = samples(Metrics())


class Watch:
    """Records the metrics whose value has ever changed."""

    def __init__(self):
        self.moved = set()
        self.has_seen_warming = threading.Event()

    def look(self, metrics):
        now = samples(metrics).items()
        self.moved |= {name for name, value in now if value != AT_FIRST.get(name, 0.0)}
        if ("mt3_model_state", "warming") in self.moved:
            self.has_seen_warming.set()

    @contextlib.asynccontextmanager
    async def serving(self, tmp_path, **options):
        """Run a server and observe its metrics from its start to its end."""
        async with serving(tmp_path, **options, wait=False) as client:
            looking = asyncio.create_task(self._keep_looking(client.service.metrics))
            await until(lambda: client.service.state.value in ("ready", "failed"))
            yield client
            self.look(client.service.metrics)
        self.look(client.service.metrics)
        looking.cancel()

    async def _keep_looking(self, metrics):
        while True:
            self.look(metrics)
            await asyncio.sleep(0.001)


def slow(**options):
    return FakeBackend(MT3, **options, iteration_seconds=0.02)


async def post(client, seconds=0.5, **options):
    return await client.post(URL, content=recording(seconds), params=options)


async def succeed(watch, tmp_path):
    """Send a recording long enough to wait for slots, wrong requests, and a stream that is
    resumed."""
    async with watch.serving(tmp_path, load=loader(slow(slots=1))) as client:
        assert (await post(client, 9.0)).status_code == 200
        assert (await post(client, start="x")).status_code == 422
        streamed = await post(client, stream="true")
        assert streamed.status_code == 200
        events = f"{streamed.headers['location']}"
        assert (await client.get(events, headers={"Last-Event-ID": "1"})).status_code == 200


async def fail_to_load(watch, tmp_path):
    def load(settings):
        raise RuntimeError("no model")

    async with watch.serving(tmp_path, load=load) as client:
        assert (await client.get("/ready")).json()["state"] == "failed"


async def load_for_a_while(watch, tmp_path):
    """Go through the states to ready; warming lasts until it is observed."""

    class Cold(FakeBackend):
        def warm_up(self):
            assert watch.has_seen_warming.wait(120)

    async with watch.serving(tmp_path, load=loader(Cold(MT3))):
        pass


async def go_away(watch, tmp_path):
    """A client disconnects while its segments wait; a server ends while another's do."""
    for is_servers_end in (False, True):
        backend = HeldBackend()
        async with watch.serving(tmp_path, load=loader(backend)) as client:
            waiting = asyncio.create_task(post(client, 9.0))
            await until(lambda held=backend: held.inserted)
            await let_until_some_wait(backend, client.service)
            if is_servers_end:
                ending = asyncio.create_task(let_once_closed(backend, client.service))
            else:
                waiting.cancel()
                await asyncio.wait({waiting})
                backend.let(10)
        await asyncio.wait({waiting})
    await ending


def waiting_segments(metrics):
    return metrics.registry.get_sample_value("mt3_queue_segments")


async def let_until_some_wait(backend, service):
    """Segments that arrive during an iteration that frees no slot count as waiting from its end."""
    inbox = service.pipeline.engine._loop._inbox
    async with asyncio.timeout(400):
        while not waiting_segments(service.metrics):
            if inbox.qsize() and backend.is_held:
                backend.let(1)
            await asyncio.sleep(0.01)


async def let_once_closed(backend, service):
    """The server's stop waits for the running iteration, which continues only after the stop
    began."""
    await until(lambda: service.pipeline.engine._is_closed)
    backend.let(10)


async def break_down(watch, tmp_path):
    """The device raises for a segment, returns NaN once, and at last keeps failing."""
    async with watch.serving(tmp_path, load=loader(PoisonedBackend(0))) as client:
        assert (await post(client)).json()["code"] == "engine_failure"
    async with watch.serving(tmp_path, load=loader(NumberlessBackend(0, times=1))) as client:
        assert (await post(client)).status_code == 200
    dying = DyingBackend()
    async with watch.serving(tmp_path, load=loader(dying)) as client:
        dying.is_broken = True
        await post(client, 9.0)
        await post(client, 9.0)
        await until(lambda: client.service.state.value == "failed")


async def hang(watch, tmp_path):
    """Without the server, which waits a minute before a device counts as hung."""
    metrics, backend = Metrics(), HangingBackend()
    async with running(backend, hang_seconds=0.1, metrics=metrics) as engine:
        backend.hangs.set()
        with contextlib.suppress(Exception):
            await transcribe(engine, 0)
        watch.look(metrics)
        backend.gate.set()


async def change_keys(watch, tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text("keys = []\n")
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    async with watch.serving(uploads, api_keys_file=keys) as client:
        keys.write_text(f'[[keys]]\nname = "a"\nsha256 = "{"0" * 64}"\n')
        client.service.keys.refresh(always=True)
        keys.write_text("nonsense")
        client.service.keys.refresh(always=True)


SCENES = (
    succeed, load_for_a_while, fail_to_load, go_away, break_down, hang, change_keys, do_jobs,
    tell_of_jobs,
)  # fmt: skip


async def test_every_metric_moves_when_something_happens_that_it_counts(tmp_path):
    watch = Watch()
    for number, scene in enumerate(SCENES):
        folder = tmp_path / str(number)
        folder.mkdir()
        await scene(watch, folder)
    # Labels that requests create have no values at first, but must have some now.
    labelled = {
        family.name + {"counter": "_total", "histogram": "_count"}.get(family.type, "")
        for family in Metrics().registry.collect()
        if family.name.startswith("mt3_") and not family.samples
    }
    moved_names = {name for name, *_ in watch.moved}
    assert labelled <= moved_names
    assert set(AT_FIRST) - watch.moved == set(UNMOVED)


async def test_what_stands_for_now_returns_to_nothing(tmp_path):
    async with serving(tmp_path, load=loader(slow(slots=2))) as client:
        await asyncio.gather(*(post(client, 3.0) for _ in range(4)))
        now = samples(client.service.metrics)
    for name in (
        "mt3_queue_audio_seconds", "mt3_queue_segments", "mt3_queue_age_seconds", "mt3_slots_used",
        "mt3_open_recordings", "mt3_streams_open", "mt3_http_requests_in_progress",
    ):  # fmt: skip
        assert now[(name,)] == 0, name
    assert now["mt3_transcriptions_total", "finished"] == 4
    assert now["mt3_segments_total", "finished"] == 8
    assert now[("mt3_audio_seconds_total",)] == pytest.approx(12.0, abs=0.1)  # whole frames
    assert now[("mt3_first_note_seconds_count",)] == 4
