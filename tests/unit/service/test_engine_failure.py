"""The engine with devices that fail, return NaN, die, recover, or hang."""

import asyncio
import threading

import pytest

from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError
from tests.unit.service.devices import (
    HANG_SECONDS,
    DyingBackend,
    HangingBackend,
    NumberlessBackend,
    PoisonedBackend,
    WarmingBackend,
    alone,
    running,
    segments,
    transcribe,
)
from tests.waiting import until


async def test_one_poison_segment_costs_its_recording_and_no_other(caplog):
    async with running(PoisonedBackend(13)) as engine:
        outcomes = await asyncio.gather(
            transcribe(engine, *range(12, 16)),
            transcribe(engine, *range(8)),
            transcribe(engine, *range(6), caller="other"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], EngineError)
        assert "twice" in str(outcomes[0])
        assert outcomes[1:] == [alone(*range(8)), alone(*range(6))]
        assert engine.failures == 2
        assert engine.is_healthy
        assert engine.admissions.waiting_audio_seconds == 0
        assert await transcribe(engine, 5) == alone(5)


async def test_every_other_segment_of_the_recording_is_transcribed(caplog):
    async with running(PoisonedBackend(13)) as engine:
        with engine.admit(audio_seconds=8.0, decoding="greedy") as admission:
            futures = engine.submit(segments(*range(8, 16)), admission)
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
    for index, outcome in zip(range(8, 16), outcomes, strict=True):
        if index == 13:
            assert isinstance(outcome, EngineError)
        else:
            assert [outcome.tokens.tolist()] == alone(index)


async def test_a_segment_without_numbers_costs_its_recording_and_no_other(caplog):
    async with running(NumberlessBackend(13)) as engine:
        outcomes = await asyncio.gather(
            transcribe(engine, 12, 13), transcribe(engine, *range(8)), return_exceptions=True
        )
    assert isinstance(outcomes[0], EngineError)
    assert outcomes[1] == alone(*range(8))


async def test_a_chance_failure_costs_nobody_anything(caplog):
    class Once(FakeBackend):
        has_failed = False

        def step(self):
            if not self.has_failed:
                self.has_failed = True
                raise RuntimeError("chance")
            return super().step()

    async with running(Once(MT3)) as engine:
        assert await transcribe(engine, *range(8)) == alone(*range(8))


async def test_a_dead_device_fails_everything_at_once_and_refuses_until_it_works(caplog):
    backend, reported = DyingBackend(), []
    async with running(backend, on_health=reported.append, trial_seconds=0.02) as engine:
        assert await transcribe(engine, 1) == alone(1)
        backend.is_broken = True
        outcomes = await asyncio.gather(
            *(transcribe(engine, *range(10)) for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(outcome, EngineError) for outcome in outcomes)
        assert "keeps failing" in str(outcomes[-1])
        assert (engine.is_healthy, reported) == (False, [False])
        with pytest.raises(EngineError) as caught:
            engine.require_capacity()
        assert caught.value.retry_after_seconds >= 1
        with pytest.raises(EngineError):
            await transcribe(engine, 0)
        trials = backend.trials
        await until(lambda: backend.trials > trials + 1)
        assert not engine.is_healthy
        backend.is_broken = False
        await until(lambda: engine.is_healthy)
        assert reported == [False, True]
        assert await transcribe(engine, *range(10)) == alone(*range(10))


async def test_an_admission_made_before_the_device_died_cannot_submit_after(caplog):
    backend = DyingBackend()
    async with running(backend) as engine:
        with engine.admit(audio_seconds=9.0, decoding="greedy") as admission:
            backend.is_broken = True
            (future,) = engine.submit(segments(0), admission)
            with pytest.raises(EngineError):
                await future
            with pytest.raises(EngineError):
                await asyncio.gather(*engine.submit(segments(1), admission))
            await until(lambda: not engine.is_healthy)
            with pytest.raises(EngineError, match="keeps failing"):
                engine.submit(segments(2), admission)


@pytest.mark.slow
async def test_a_call_that_hangs_fails_everything_and_what_it_gives_later_is_dropped(caplog):
    backend, reported = HangingBackend(), []
    backend.hangs.set()
    async with running(
        backend, hang_seconds=HANG_SECONDS, trial_seconds=0.02, on_health=reported.append
    ) as engine:
        outcomes = await asyncio.gather(
            *(transcribe(engine, *range(10)) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(outcome, EngineError) for outcome in outcomes)
        assert reported == [False]
        assert engine.admissions.waiting_audio_seconds == 0
        with pytest.raises(EngineError):
            engine.require_capacity()
        backend.hangs.clear()
        backend.gate.set()
        await until(lambda: engine.is_healthy)
        assert reported == [False, True]
        assert await transcribe(engine, *range(10)) == alone(*range(10))
    assert [r.message for r in caplog.records].count("engine_hangs") == 1


@pytest.mark.slow
async def test_a_trial_that_hangs_is_waited_for_and_counted(caplog):
    backend = HangingBackend()
    backend.hangs.set()
    async with running(backend, hang_seconds=HANG_SECONDS, trial_seconds=0.02) as engine:
        with pytest.raises(EngineError):
            await transcribe(engine, 0)
        backend.is_in.clear()
        backend.gate.set()  # the call returns; the trial is to hang
        backend.gate.clear()
        await until(backend.is_in.is_set)
        await until(
            lambda: [r.message for r in caplog.records].count("engine_hangs") == 2,
        )
        assert not engine.is_healthy
        backend.hangs.clear()
        backend.gate.set()
        await until(lambda: engine.is_healthy)


async def test_warming_up_may_take_any_time():
    slow, backend = WarmingBackend(), HangingBackend()
    backend.hangs.set()
    async with (
        running(slow, hang_seconds=0.05) as engine,
        running(backend, hang_seconds=0.05) as other,
    ):
        warming = asyncio.create_task(engine.warm_up())
        await until(slow.is_warming.is_set)
        with pytest.raises(EngineError):
            await transcribe(other, 0)  # by now, a call as long would be a hang
        slow.gate.set()
        backend.hangs.clear()
        backend.gate.set()
        await warming
        assert engine.is_healthy


async def test_a_slow_call_is_not_a_hang():
    async with running(FakeBackend(MT3, iteration_seconds=0.05), hang_seconds=30.0) as engine:
        assert await transcribe(engine, *range(6)) == alone(*range(6))
        assert engine.is_healthy


async def test_closing_does_not_wait_for_a_call_that_hangs(caplog):
    backend = HangingBackend()
    backend.hangs.set()
    async with running(backend, hang_seconds=0.1) as engine:
        with pytest.raises(EngineError):
            await transcribe(engine, 0)
        await engine.close()  # the call returns only afterwards
    backend.gate.set()
    await until(lambda: not any(t.name == "device" for t in threading.enumerate()))


async def test_closing_does_not_wait_for_the_warm_up():
    backend = WarmingBackend()
    async with running(backend) as engine:
        warming = asyncio.create_task(engine.warm_up())
        await until(backend.is_warming.is_set)
        await engine.close()  # the warm-up ends only afterwards
        assert not warming.done()
        backend.gate.set()
        await warming
    await until(lambda: not any(t.name == "device" for t in threading.enumerate()))


async def test_closing_waits_no_longer_than_its_bound_and_fails_what_is_left():
    backend = HangingBackend()
    backend.hangs.set()
    async with running(backend, close_seconds=0.1) as engine:
        task = asyncio.create_task(transcribe(engine, 0, 1))
        await until(backend.is_in.is_set)
        await engine.close()  # the call returns only afterwards
        with pytest.raises(EngineError, match="closed"):
            await task
    backend.gate.set()
    await until(lambda: not any(t.name == "device" for t in threading.enumerate()))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_device_thread_that_dies_leaves_nobody_waiting(caplog):
    class Deadly(FakeBackend):
        def step(self):
            raise SystemExit  # ends a thread without a report

    async with running(Deadly(MT3), hang_seconds=0.1) as engine:
        with pytest.raises(EngineError):
            await transcribe(engine, 0)
        assert not engine.is_healthy
    assert "engine_thread_ended" in [r.message for r in caplog.records]
