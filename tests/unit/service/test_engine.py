"""Order, cancellation and closing of the engine, with backends that wait for the test."""

import asyncio
import threading
import time

import numpy as np
import pytest

from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError
from tests.unit.service.devices import Clock, HeldBackend, alone, running, segments, transcribe
from tests.waiting import until


async def test_each_segment_gets_its_own_tokens_whatever_order_they_end_in():
    async with running() as engine:
        # 3, 1 and 2 iterations.
        assert await transcribe(engine, 2, 3, 4) == alone(2, 3, 4)


async def test_recordings_take_turns_on_one_thread():
    backend = HeldBackend()
    async with running(backend) as engine:
        # Indices divisible by three take one iteration each.
        both = [
            asyncio.create_task(transcribe(engine, *range(start, start + 9, 3)))
            for start in (30, 60)
        ]
        await asyncio.sleep(0)
        backend.let(6)
        await asyncio.gather(*both)
    # Either may be first when the thread reads them.
    assert backend.inserted in ([30, 60, 33, 63, 36, 66], [30, 33, 60, 36, 63, 66])
    assert len(backend.threads) == 1
    assert threading.get_ident() not in backend.threads


async def test_a_recording_cancelled_while_it_waits_never_reaches_the_device():
    backend = HeldBackend()
    async with running(backend) as engine:
        running_, waiting, last = (
            asyncio.create_task(transcribe(engine, index)) for index in (3, 6, 9)
        )
        await until(lambda: backend.inserted)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        backend.let(2)
        await asyncio.gather(running_, last)
        assert backend.inserted == [3, 9]
        assert engine.admissions.waiting_audio_seconds == 0


async def test_a_recording_cancelled_while_it_runs_leaves_its_slot_in_the_next_iteration():
    backend = HeldBackend()
    async with running(backend) as engine:
        leaving = asyncio.create_task(transcribe(engine, 2))  # three iterations
        await until(lambda: backend.inserted == [2])
        last = asyncio.create_task(transcribe(engine, 3))
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        backend.let(2)  # the one under way, and that of the other
        assert await last == alone(3)


@pytest.mark.parametrize("seed", range(20))
async def test_any_mixture_gives_each_recording_what_it_gets_alone(seed):
    random = np.random.default_rng(seed)
    slots, encode_batch = random.integers(1, 5, 2).tolist()
    counts = random.integers(1, 12, 12).tolist()
    async with running(
        FakeBackend(MT3, slots=slots, encode_batch=encode_batch), bound=1e6
    ) as engine:
        tasks = []
        for count in counts:
            tasks.append(asyncio.create_task(transcribe(engine, *range(count))))
            for _ in range(random.integers(4)):
                await asyncio.sleep(0)
            if random.random() < 0.3:
                tasks[random.integers(len(tasks))].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert engine.admissions.waiting_audio_seconds == 0
    for count, outcome in zip(counts, outcomes, strict=True):
        assert isinstance(outcome, asyncio.CancelledError) or outcome == alone(*range(count))


async def test_the_wait_of_the_first_segment_for_its_slot_is_counted():
    clock, backend = Clock(), HeldBackend()
    async with running(backend, clock=clock) as engine:
        other = asyncio.create_task(transcribe(engine, 0))
        await until(lambda: backend.inserted)
        with engine.admit(audio_seconds=2.0, decoding="greedy") as admission:
            tokens = engine.submit(segments(0, 3), admission)
            clock.now = 2.5
            backend.let(1)
            await other
            await until(lambda: len(backend.inserted) == 2)
            clock.now = 7.0  # the second waits for the first: not counted
            backend.let(2)
            await asyncio.gather(*tokens)
            assert admission.queue_seconds == 2.5


async def test_callers_take_turns_whatever_their_number_of_recordings():
    backend = HeldBackend()
    async with running(backend) as engine:
        # Indices divisible by three take one iteration each. The first to come blocks the one slot.
        tasks = [asyncio.create_task(transcribe(engine, 0, caller="first"))]
        await until(lambda: backend.inserted == [0])
        tasks += [
            asyncio.create_task(transcribe(engine, start, start + 3, caller="many"))
            for start in (30, 60, 90)
        ]
        tasks.append(asyncio.create_task(transcribe(engine, 120, 123, 126, caller="one")))
        await asyncio.sleep(0)
        backend.let(10)
        await asyncio.gather(*tasks)
    assert backend.inserted == [0, 30, 120, 60, 123, 90, 126, 33, 63, 93]


async def test_a_failed_warm_up_is_told():
    class Cold(FakeBackend):
        def warm_up(self):
            raise RuntimeError("cold")

    async with running(Cold(MT3)) as engine:
        with pytest.raises(RuntimeError, match="cold"):
            await engine.warm_up()


async def test_closing_fails_what_is_left_and_ends_the_thread():
    backend = HeldBackend()
    async with running(backend) as engine:
        task = asyncio.create_task(transcribe(engine, 2, 5))
        await until(lambda: backend.inserted)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        backend.let(1)
        await closing
        with pytest.raises(EngineError):
            await task
        with pytest.raises(EngineError):
            await transcribe(engine, 0)
        with pytest.raises(EngineError):
            await engine.warm_up()
    assert not any(thread.name == "device" for thread in threading.enumerate())


async def test_an_idle_engine_sleeps():
    async with running(HeldBackend()) as engine:
        await engine.warm_up()
        (thread,) = (t for t in threading.enumerate() if t.name == "device")
        clock = _thread_clock(thread)
        before, end = clock(), time.thread_time() + 0.2
        while time.thread_time() < end:  # an engine that polls would compute as well
            pass
        assert clock() - before < 0.01


def _thread_clock(thread):
    identity = time.pthread_getcpuclockid(thread.ident)
    return lambda: time.clock_gettime(identity)
