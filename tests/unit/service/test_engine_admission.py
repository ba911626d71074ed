"""Admission to the engine: bounds, quotas, and the waiting times of refusals."""

import asyncio
import contextlib

import pytest

from mt3_model.spec import MT3
from service.engine.admission import Speed
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError, OverloadedError, QuotaError
from tests.unit.service.devices import Clock, HeldBackend, running, segments, transcribe
from tests.waiting import until


@contextlib.contextmanager
def waiting(engine, **seconds_by_caller):
    """Admit recordings that wait: ``x=10`` one of caller x, ``y=(5, 20)`` two of y."""
    with contextlib.ExitStack() as stack:
        for caller, lengths in seconds_by_caller.items():
            for seconds in lengths if isinstance(lengths, tuple) else (lengths,):
                stack.enter_context(
                    engine.admit(audio_seconds=float(seconds), decoding="greedy", caller=caller)
                )
        yield


def refused(engine, error, audio_seconds, **options):
    """Return the time of the refusal."""
    with pytest.raises(error) as caught:
        engine.require_capacity(audio_seconds, **options)
    return caught.value.retry_after_seconds


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
            assert engine.admissions.waiting_audio_seconds == 97.0
        assert engine.admissions.waiting_audio_seconds == 0.0
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
            # The second segment takes two iterations: two seconds of audio in half a second.
            await asyncio.gather(*engine.submit(segments(0, 1), admission))
            with pytest.raises(OverloadedError) as caught:
                engine.require_capacity(5.0)
    # (40 + 5 - 10) / 4 = 8.75. The first quarter second has faded by e^(-0.25 / 30), alike in
    # the audio and in the time.
    assert caught.value.retry_after_seconds == 9


async def test_a_recording_longer_than_the_bound_has_room_once_nothing_else_waits():
    async with running(bound=10.0) as engine:
        with waiting(engine, x=8):
            assert refused(engine, OverloadedError, 60.0) == 8


async def test_a_refusal_names_a_second_at_least():
    async with running(bound=100.0) as engine:
        engine.require_capacity(500.0)
        with waiting(engine, x=99.5):
            assert refused(engine, OverloadedError, 1.0) == 1


async def test_a_caller_above_its_own_bound_is_refused_while_others_are_let_in():
    async with running(bound=1_000.0) as engine:
        with waiting(engine, x=25):
            assert refused(engine, QuotaError, 10.0, caller="x", caller_bound_seconds=30.0) == 5
            engine.require_capacity(10.0, caller="y", caller_bound_seconds=30.0)
            engine.require_capacity(10.0, caller="x")
            engine.require_capacity(4.0, caller="x", caller_bound_seconds=30.0)
            with (
                pytest.raises(QuotaError, match=r"25 seconds of audio of yours .* limit of 30"),
                engine.admit(
                    audio_seconds=10.0, decoding="greedy", caller="x", caller_bound_seconds=30.0
                ),
            ):
                pass


async def test_a_callers_wait_counts_the_turns_of_the_others():
    async with running(bound=1_000.0) as engine:
        with waiting(engine, x=(20, 20), y=100, z=3):
            # x must get 20 s; until then y gets 20 s, and z all its 3.
            seconds = refused(engine, QuotaError, 10.0, caller="x", caller_bound_seconds=30.0)
            assert seconds == 20 + 20 + 3


async def test_a_recording_above_the_callers_bound_is_let_in_when_it_has_nothing_else():
    async with running(bound=1_000.0) as engine:
        with waiting(engine, y=100):
            engine.require_capacity(90.0, caller="x", caller_bound_seconds=30.0)


async def test_the_callers_bound_is_told_before_the_servers():
    async with running(bound=100.0) as engine:
        with waiting(engine, x=99):
            assert refused(engine, OverloadedError, 10.0, caller="x") == 9
            assert refused(engine, QuotaError, 10.0, caller="x", caller_bound_seconds=50.0) == 59


async def test_the_next_end_is_that_of_the_shortest_by_turns():
    async with running(bound=10_000.0) as engine:
        assert engine.admissions.seconds_to_next_end() == 0.0
        with waiting(engine, x=60):
            assert engine.admissions.seconds_to_next_end() == 60.0
            with waiting(engine, y=(10, 100, 100)):
                # y's three recordings get 10 s each; so does x, by turns of callers, 30 s.
                assert engine.admissions.seconds_to_next_end() == 60.0
                assert engine.admissions.seconds_to_next_end("y") == 60.0
                # x's own end: 60 s for it, and as much for y.
                assert engine.admissions.seconds_to_next_end("x") == 120.0
            with waiting(engine, y=10):
                assert engine.admissions.seconds_to_next_end() == 20.0


async def test_the_time_named_is_the_time_it_takes():
    """Simulate ten recordings of three callers on a device of known speed to the end."""
    clock = Clock()

    class Timed(HeldBackend):
        def step(self):
            finished = super().step()
            clock.now += 0.5 if self._live or finished else 0.0
            return finished

    backend = Timed()
    async with running(backend, bound=1_000.0, clock=clock) as engine:
        # Segments of one second of audio that take one iteration: two audio seconds per second.
        backend.let(4)
        await transcribe(engine, 0, 3, 6, 9)
        tasks = [
            asyncio.create_task(transcribe(engine, *range(0, 3 * length, 3), caller=caller))
            for caller, length in (("x", 12), ("x", 8), ("y", 30), ("z", 2))
        ]
        await asyncio.sleep(0)
        # x has 20 s waiting, may have 15 and wants 5 more: 10 s of its own, 10 of y's, 2 of z's.
        options = {"caller": "x", "caller_bound_seconds": 15.0}
        promised = refused(engine, QuotaError, 5.0, **options)
        assert promised == 11
        began = clock.now
        while True:
            backend.let(1)
            before = len(backend.inserted)
            await until(lambda: len(backend.inserted) > before)  # noqa: B023
            await asyncio.sleep(0.002)
            with contextlib.suppress(QuotaError):
                engine.require_capacity(5.0, **options)
                break
        assert abs(clock.now - began - promised) <= 1.0
        for task in tasks:
            task.cancel()
        backend.let(100)
        await asyncio.gather(*tasks, return_exceptions=True)


def test_speed_forgets_what_is_long_ago():
    speed = Speed()
    assert speed.value == 1.0, "assumed"
    speed.add(400.0, 100.0)
    assert speed.value == 4.0
    speed.add(300.0, 300.0)  # ten times the memory: what was before counts e^-10
    assert speed.value == pytest.approx(1.0, rel=1e-3)


async def test_a_closed_engine_admits_nobody():
    async with running() as engine:
        await engine.close()
        with pytest.raises(EngineError):
            engine.require_capacity()
