"""Admission, order, cancellation and failure of the engine, over backends that wait to be told."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.errors import DeadlineError, EngineError, OverloadedError
from tests.integration.serving import until


class HeldBackend(FakeBackend):
    """Makes one visit each time it is let; remembers what was inserted, and by which threads."""

    def __init__(self, *, slots=1):
        super().__init__(MT3, slots=slots, encode_batch=1)
        self.inserted = []
        self.threads = set()
        self._permits = threading.Semaphore(0)

    def let(self, visits):
        self._permits.release(visits)

    def insert(self, entries):
        self.inserted += [entry.segment.index for entry in entries]
        super().insert(entries)

    def step(self):
        self.threads.add(threading.get_ident())
        assert self._permits.acquire(timeout=10)
        return super().step()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def segments(*indices):
    return [
        Segment(
            index=index,
            samples=np.zeros(MT3.segment_samples, np.float32),
            frames=125,  # one second
            start_time=0.0,
        )
        for index in indices
    ]


@contextlib.asynccontextmanager
async def running(backend=None, *, bound=100.0, **options):
    engine = Engine(backend or FakeBackend(MT3), MT3, max_waiting_audio_seconds=bound, **options)
    try:
        yield engine
    finally:
        await engine.close()


async def transcribe(engine, *indices):
    """One recording, all submitted at once: its tokens in order."""
    with engine.admit(audio_seconds=float(len(indices)), decoding="greedy") as admission:
        generated = await asyncio.gather(*engine.submit(segments(*indices), admission))
    return [g.tokens.tolist() for g in generated]


def alone(*indices):
    backend = FakeBackend(MT3)
    return [backend.generate(index).tokens.tolist() for index in indices]


async def test_each_segment_gets_its_own_tokens_whatever_order_they_end_in():
    async with running() as engine:
        # 3, 1 and 2 visits.
        assert await transcribe(engine, 2, 3, 4) == alone(2, 3, 4)


async def test_recordings_take_turns_on_one_thread():
    backend = HeldBackend()
    async with running(backend) as engine:
        # Indices divisible by three take one visit each.
        both = [
            asyncio.create_task(transcribe(engine, *range(start, start + 9, 3)))
            for start in (30, 60)
        ]
        await asyncio.sleep(0)
        backend.let(6)
        await asyncio.gather(*both)
    # Either may be first by the time that the thread looks.
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
        assert engine.waiting_audio_seconds == 0


async def test_a_recording_cancelled_while_it_runs_leaves_its_slot_in_the_next_visit():
    backend = HeldBackend()
    async with running(backend) as engine:
        leaving = asyncio.create_task(transcribe(engine, 2))  # three visits
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
            await asyncio.sleep(random.choice([0, 0.001]))
            if random.random() < 0.3:
                tasks[random.integers(len(tasks))].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert engine.waiting_audio_seconds == 0
    for count, outcome in zip(counts, outcomes, strict=True):
        assert isinstance(outcome, asyncio.CancelledError) or outcome == alone(*range(count))


async def test_above_the_bound_admission_is_refused_and_names_a_time():
    async with running(bound=100.0) as engine:
        with (
            engine.admit(audio_seconds=90.0, decoding="greedy"),
            pytest.raises(OverloadedError) as caught,
            engine.admit(audio_seconds=30.0, decoding="greedy"),
        ):
            pass
    # 20 s too many, at the assumed speed of one second per second.
    assert caught.value.retry_after_seconds == 20


async def test_what_is_generated_or_left_makes_room():
    async with running(bound=100.0) as engine:
        with engine.admit(audio_seconds=99.0, decoding="greedy") as admission:
            await asyncio.gather(*engine.submit(segments(0, 1), admission))
            assert engine.waiting_audio_seconds == 97.0
        assert engine.waiting_audio_seconds == 0.0
        with engine.admit(audio_seconds=99.0, decoding="greedy"):
            pass


async def test_a_recording_above_the_bound_is_served_when_nothing_else_waits():
    async with running(bound=10.0) as engine:
        with engine.admit(audio_seconds=60.0, decoding="greedy"), pytest.raises(OverloadedError):
            engine.require_capacity()
        engine.require_capacity()


async def test_retry_after_follows_the_measured_speed():
    clock = Clock()

    class Timed(FakeBackend):
        def step(self):
            clock.now += 0.25
            return super().step()

    async with running(Timed(MT3), bound=10.0, clock=clock) as engine:
        with engine.admit(audio_seconds=42.0, decoding="greedy") as admission:
            # The second segment takes two visits: two seconds of audio in half a second.
            await asyncio.gather(*engine.submit(segments(0, 1), admission))
            with pytest.raises(OverloadedError) as caught:
                engine.require_capacity(20.0)
    # (40 + 20 - 10) / 4 = 12.5. The first quarter second has faded by e^(-0.25 / 30), alike in
    # the audio and in the time.
    assert caught.value.retry_after_seconds == 13


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


async def test_a_passed_deadline_is_an_error_of_its_own():
    clock = Clock()
    async with running(clock=clock) as engine:
        clock.now = 5.0
        with engine.admit(audio_seconds=1.0, decoding="greedy", deadline=4.0) as admission:
            (tokens,) = engine.submit(segments(0), admission)
            with pytest.raises(DeadlineError):
                await tokens


async def test_a_failure_of_the_device_ends_what_runs_and_no_more(caplog):
    class Failing(HeldBackend):
        def step(self):
            finished = super().step()
            if 13 in self.inserted and self.inserted[-1] == 13:
                raise RuntimeError("device")
            return finished

    backend = Failing()
    async with running(backend) as engine:
        backend.let(10)
        outcomes = await asyncio.gather(
            transcribe(engine, 13, 14, 15), transcribe(engine, 3, 6), return_exceptions=True
        )
        assert isinstance(outcomes[0], EngineError)
        assert outcomes[1] == alone(3, 6)
        assert engine.failures == 1
        assert engine.waiting_audio_seconds == 0
        assert await transcribe(engine, 5) == alone(5)


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
        before = clock()
        await asyncio.sleep(0.2)
        assert clock() - before < 0.01


def _thread_clock(thread):
    identity = time.pthread_getcpuclockid(thread.ident)
    return lambda: time.clock_gettime(identity)
