"""Every metric of the engine changes when it should, by the right amount."""

import asyncio

import pytest

from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError
from service.observability.metrics import SEGMENT_OUTCOMES, Metrics
from tests.unit.service.devices import (
    HANG_SECONDS,
    Clock,
    DyingBackend,
    HangingBackend,
    HeldBackend,
    NumberlessBackend,
    PoisonedBackend,
    running,
    segments,
    transcribe,
)
from tests.waiting import until


class Read:
    """The metrics' values by their names in Prometheus's text."""

    def __init__(self):
        self.metrics = Metrics()

    def __call__(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"mt3_{name}", labels or None)

    def ends(self):
        values = {o: self("segments_total", outcome=o) for o in SEGMENT_OUTCOMES}
        return {outcome: value for outcome, value in values.items() if value}


async def test_what_is_generated_is_counted():
    clock, read = Clock(), Read()

    class Timed(FakeBackend):
        def step(self):
            clock.now += 0.25
            return super().step()

    backend = Timed(MT3, slots=4, encode_batch=2)
    async with running(backend, clock=clock, metrics=read.metrics) as engine:
        await transcribe(engine, 0, 1)  # one iteration and two
    assert read.ends() == {"finished": 2}
    assert read("audio_seconds_total") == 2.0
    assert read("tokens_total") == sum(len(backend.generate(i).tokens) for i in (0, 1))
    assert read("device_busy_seconds_total") == 0.5
    assert (read("visit_seconds_count"), read("visit_seconds_sum")) == (2, 0.5)
    assert (read("batch_fill_ratio_count"), read("batch_fill_ratio_sum")) == (2, 0.75)
    assert read("slots") == 4
    assert read("slots_used") == 0
    assert read("queue_segments") == 0
    assert read("queue_audio_seconds") == 0
    assert read("engine_healthy") == 1


async def test_what_waits_is_shown_and_grows_old_while_nothing_happens():
    clock, read, backend = Clock(), Read(), HeldBackend()
    async with running(backend, clock=clock, metrics=read.metrics) as engine:
        task = asyncio.create_task(transcribe(engine, 0, 3, 6))
        await until(lambda: backend.inserted == [0])
        assert read("queue_audio_seconds") == 3
        assert (read("slots_used"), read("queue_segments")) == (1, 2)
        assert read("queue_age_seconds") == 0
        clock.now = 7.0
        assert read("queue_age_seconds") == 7
        backend.let(1)
        await until(lambda: len(backend.inserted) == 2)
        await until(lambda: read("queue_segments") == 1)
        assert read("queue_audio_seconds") == 2
        assert (read("segment_queue_seconds_count"), read("segment_queue_seconds_sum")) == (2, 7)
        backend.let(2)
        await task
        await until(lambda: read("queue_age_seconds") == 0)


async def test_ends_are_counted_once_each():
    read, backend = Read(), HeldBackend()
    async with running(backend, metrics=read.metrics) as engine:
        canceled = asyncio.create_task(transcribe(engine, 2, 5))
        await until(lambda: backend.inserted == [2])
        canceled.cancel()
        await asyncio.gather(canceled, return_exceptions=True)
        assert read.ends() == {"canceled": 2}
        backend.let(1)
        left = asyncio.create_task(transcribe(engine, 0, 3))
        await until(lambda: backend.inserted[-1] == 0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        backend.let(1)
        await closing
        with pytest.raises(EngineError):
            await left
    ends = read.ends()
    assert ends.pop("closed") + ends.pop("finished", 0) == 2
    assert ends == {"canceled": 2}


async def test_failures_and_second_tries_are_counted(caplog):
    read = Read()
    async with running(PoisonedBackend(1), metrics=read.metrics) as engine:
        await asyncio.gather(transcribe(engine, 0, 1, 2), return_exceptions=True)
    assert read("engine_failures_total", kind="exception") == 2
    assert read("segment_retries_total") == 3
    assert sum(read.ends().values()) == 3
    assert read("segment_queue_seconds_count") == 3, "a second try waits for no turn"


async def test_numbers_that_are_none_are_counted(caplog):
    read = Read()
    async with running(NumberlessBackend(1), metrics=read.metrics) as engine:
        await asyncio.gather(transcribe(engine, 0, 1), return_exceptions=True)
    assert read("engine_failures_total", kind="not_a_number") == 2
    assert read("engine_failures_total", kind="exception") == 0
    assert read("segment_retries_total") == 1


async def test_health_is_shown(caplog):
    read, backend = Read(), DyingBackend()
    backend.is_broken = True
    async with running(backend, metrics=read.metrics, trial_seconds=0.02) as engine:
        with engine.admit(audio_seconds=9.0, decoding="greedy") as admission:
            futures = engine.submit(segments(*range(9)), admission)
            await asyncio.gather(*futures, return_exceptions=True)
        assert read("engine_healthy") == 0
        assert read("queue_segments") == 0
        assert read.ends() == {"failed": 9}
        backend.is_broken = False
        await until(lambda: read("engine_healthy") == 1)


@pytest.mark.slow
async def test_a_hang_is_counted_once_and_so_are_its_segments(caplog):
    read, backend = Read(), HangingBackend()
    backend.hangs.set()
    async with running(
        backend, hang_seconds=HANG_SECONDS, trial_seconds=0.02, metrics=read.metrics
    ) as engine:
        with engine.admit(audio_seconds=3.0, decoding="greedy") as admission:
            futures = engine.submit(segments(0, 1, 2), admission)
            await asyncio.gather(*futures, return_exceptions=True)
            backend.hangs.clear()
            backend.gate.set()
            await until(lambda: engine.is_healthy)
            assert read("engine_failures_total", kind="hang") == 1
    assert read.ends() == {"failed": 3}
