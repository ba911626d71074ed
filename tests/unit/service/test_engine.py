"""Turns, bounds and cancellation of the engine, over a backend that waits to be told."""

import asyncio
import threading

import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.errors import OverloadedError


class HeldBackend(FakeBackend):
    """Answers one batch each time it is released; remembers whose it was."""

    def __init__(self):
        super().__init__(MT3, batch_size=2)
        self.seen = []
        self.threads = set()
        self._permits = threading.Semaphore(0)

    def release(self, batches=1):
        self._permits.release(batches)

    def generate(self, segments, decoding, /):
        assert self._permits.acquire(timeout=10)
        self.seen.append([segment.index for segment in segments])
        self.threads.add(threading.get_ident())
        return super().generate(segments, decoding)


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


def engine_over(backend, bound=100.0):
    return Engine(backend, MT3, max_waiting_audio_seconds=bound)


async def turns(engine, first_index, batches):
    """One recording: so many batches of one segment, one after the other."""
    with engine.admit(audio_seconds=float(batches), decoding="greedy") as admission:
        for number in range(batches):
            await engine.generate(segments(first_index + number), admission)


async def test_recordings_take_turns():
    backend = HeldBackend()
    engine = engine_over(backend)
    both = [asyncio.create_task(turns(engine, first, 3)) for first in (10, 20)]
    await asyncio.sleep(0)
    backend.release(6)
    await asyncio.gather(*both)
    assert backend.seen == [[10], [20], [11], [21], [12], [22]]
    assert len(backend.threads) == 1
    engine.close()


async def test_a_batch_cancelled_while_it_waits_never_reaches_the_device():
    backend = HeldBackend()
    engine = engine_over(backend)
    running = asyncio.create_task(turns(engine, 1, 1))
    waiting = asyncio.create_task(turns(engine, 2, 1))
    last = asyncio.create_task(turns(engine, 3, 1))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    backend.release(3)
    await asyncio.gather(running, last)
    assert backend.seen == [[1], [3]]
    assert engine.waiting_audio_seconds == 0
    engine.close()


async def test_above_the_bound_admission_is_refused_and_names_a_time():
    engine = engine_over(FakeBackend(MT3), bound=100.0)
    with (
        engine.admit(audio_seconds=90.0, decoding="greedy"),
        pytest.raises(OverloadedError) as caught,
        engine.admit(audio_seconds=30.0, decoding="greedy"),
    ):
        pass
    # 20 s too many, at the assumed speed of one second per second.
    assert caught.value.retry_after_seconds == 20
    engine.close()


async def test_what_is_generated_or_left_makes_room():
    engine = engine_over(FakeBackend(MT3), bound=100.0)
    with engine.admit(audio_seconds=99.0, decoding="greedy") as admission:
        await engine.generate(segments(0, 1), admission)
        assert engine.waiting_audio_seconds == 97.0
    assert engine.waiting_audio_seconds == 0.0
    with engine.admit(audio_seconds=99.0, decoding="greedy"):
        pass
    engine.close()


async def test_a_recording_above_the_bound_is_served_when_nothing_else_waits():
    engine = engine_over(FakeBackend(MT3), bound=10.0)
    with engine.admit(audio_seconds=60.0, decoding="greedy"), pytest.raises(OverloadedError):
        engine.require_capacity()
    engine.require_capacity()
    engine.close()


async def test_retry_after_follows_the_measured_speed():
    now = iter([0.0, 0.0, 0.5, 1.0])  # submitted, started, ended: two seconds in half a second
    engine = Engine(FakeBackend(MT3), MT3, max_waiting_audio_seconds=10.0, clock=lambda: next(now))
    with engine.admit(audio_seconds=42.0, decoding="greedy") as admission:
        await engine.generate(segments(0, 1), admission)
        with pytest.raises(OverloadedError) as caught:
            engine.require_capacity(20.0)
    assert caught.value.retry_after_seconds == 13  # (40 + 20 - 10) / 4 = 12.5
    engine.close()


async def test_waiting_for_the_device_is_counted():
    now = iter([1.0, 3.5, 4.0])
    engine = Engine(FakeBackend(MT3), MT3, max_waiting_audio_seconds=10.0, clock=lambda: next(now))
    with engine.admit(audio_seconds=1.0, decoding="greedy") as admission:
        await engine.generate(segments(0), admission)
        assert admission.queue_seconds == 2.5
    engine.close()


async def test_a_failure_of_the_device_reaches_its_own_recording_only():
    class Failing(FakeBackend):
        def generate(self, segments, decoding, /):
            if segments[0].index == 13:
                raise RuntimeError("device")
            return super().generate(segments, decoding)

    engine = engine_over(Failing(MT3))
    outcomes = await asyncio.gather(
        turns(engine, 13, 1), turns(engine, 20, 2), return_exceptions=True
    )
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1] is None
    assert engine.waiting_audio_seconds == 0
    engine.close()
