"""The story of a request over real recordings and the fake backend."""

import asyncio
import contextlib
import io
import pathlib
import threading

import numpy as np
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioEmptyError, AudioFormatError, AudioLimitError
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from mt3_model.spec import MT3
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError, OverloadedError
from service.transcription import Transcriber
from tests.integration.serving import until

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")


@contextlib.asynccontextmanager
async def transcribing(backend=None, *, bound=1e6, max_open=8, **limits):
    engine = Engine(backend or FakeBackend(MT3, slots=2), MT3, max_waiting_audio_seconds=bound)
    try:
        yield Transcriber(
            engine, MT3, MODEL, limits=ReadingLimits(**limits), max_open_recordings=max_open
        )
    finally:
        await engine.close()


def write(folder, seconds, name="a.wav"):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * 16_000), np.float32), 16_000, format="WAV")
    path = folder / name
    path.write_bytes(buffer.getvalue())
    return path


def open_files():
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


async def test_all_segments_are_transcribed_in_order(tmp_path):
    async with transcribing() as transcriber:
        # 9 s are 4.39 segments: five, which end in the order 0, 1, 3, 2, 4.
        transcription = await transcriber.transcribe(write(tmp_path, 9.0), TranscriptionOptions())
    piano = [n.pitch for n in transcription.notes.notes if not n.is_drum]
    assert piano == [60, 61, 62, 63, 64]
    assert transcription.duration_seconds == 9.0
    assert transcription.usage.segments == 5
    assert transcription.usage.tokens == 50
    assert transcription.usage.wall_seconds > 0
    assert transcription.model == MODEL


class Held(FakeBackend):
    """Goes no step before it is let; remembers what was inserted."""

    def __init__(self, **shapes):
        super().__init__(MT3, **shapes)
        self.inserted = []
        self.entered, self.go = threading.Event(), threading.Event()

    def insert(self, entries):
        self.inserted += [entry.segment.index for entry in entries]
        super().insert(entries)

    def step(self):
        self.entered.set()
        assert self.go.wait(10)
        return super().step()


async def test_reading_keeps_two_segments_per_slot_ahead_of_the_device(tmp_path):
    backend = Held(slots=2, encode_batch=1)
    async with transcribing(backend) as transcriber:
        submitted = []
        submit = transcriber._engine.submit
        transcriber._engine.submit = lambda segments, admission: (
            submitted.extend(s.index for s in segments) or submit(segments, admission)
        )
        task = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 19.0), TranscriptionOptions())
        )
        await until(lambda: len(submitted) == 4)
        await asyncio.sleep(0.1)
        assert submitted == [0, 1, 2, 3]
        backend.go.set()
        assert (await task).usage.segments == 10
        assert submitted == list(range(10))


async def test_recordings_together_get_what_each_gets_alone(tmp_path):
    paths = [write(tmp_path, seconds, f"{seconds}.wav") for seconds in (9.0, 1.0, 21.5, 4.1)]
    async with transcribing(FakeBackend(MT3, slots=3, encode_batch=2)) as transcriber:
        alone = [await transcriber.transcribe(path, TranscriptionOptions()) for path in paths]
        together = await asyncio.gather(
            *(transcriber.transcribe(path, TranscriptionOptions()) for path in paths)
        )
    assert [t.notes for t in together] == [t.notes for t in alone]


async def test_a_failure_of_the_device_reaches_the_caller_and_leaves_nothing(tmp_path, caplog):
    class Failing(FakeBackend):
        def step(self):
            raise RuntimeError("device")

    async with transcribing(Failing(MT3)) as transcriber:
        before = open_files()
        with pytest.raises(EngineError):
            await transcriber.transcribe(write(tmp_path, 30.0), TranscriptionOptions())
        assert transcriber.waiting_audio_seconds == 0
        await until(lambda: open_files() <= before)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"no audio", AudioFormatError), (None, AudioEmptyError)],
)
async def test_a_recording_that_cannot_be_used_raises_and_leaves_nothing(tmp_path, content, error):
    path = write(tmp_path, 0.0)
    if content is not None:
        path.write_bytes(content)
    async with transcribing() as transcriber:
        before = open_files()
        with pytest.raises(error):
            await transcriber.transcribe(path, TranscriptionOptions())
        assert open_files() <= before
        assert transcriber.waiting_audio_seconds == 0


async def test_a_recording_above_the_limit_is_refused(tmp_path):
    async with transcribing(max_seconds=1.0) as transcriber:
        with pytest.raises(AudioLimitError, match="1 s"):
            await transcriber.transcribe(write(tmp_path, 2.0), TranscriptionOptions())


async def test_a_cancelled_recording_stops_reading_and_leaves_nothing(tmp_path):
    backend = Held(slots=1)
    async with transcribing(backend) as transcriber:
        before = open_files()
        task = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 9.0), TranscriptionOptions())
        )
        assert await asyncio.to_thread(backend.entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transcriber.waiting_audio_seconds == 0
        transcriber.require_capacity()
        backend.go.set()
        # The device's thread and that of `to_thread` stay; the reading thread has ended.
        await until(lambda: not any(t.name.startswith("reading") for t in threading.enumerate()))
        await until(lambda: open_files() <= before)


async def test_more_recordings_than_may_be_open_are_refused(tmp_path):
    async with transcribing(max_open=1) as transcriber:
        first = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 1.0), TranscriptionOptions())
        )
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            transcriber.require_capacity()
        await first
        transcriber.require_capacity()


async def test_the_range_alone_is_counted_against_the_bound(tmp_path):
    backend = Held()
    async with transcribing(backend, bound=100.0) as transcriber:
        task = asyncio.create_task(
            transcriber.transcribe(
                write(tmp_path, 60.0), TranscriptionOptions(start=10.0, end=12.5)
            )
        )
        await until(lambda: transcriber.waiting_audio_seconds > 0)
        assert transcriber.waiting_audio_seconds == 2.5
        backend.go.set()
        assert min(n.start_time for n in (await task).notes.notes) == 10.0
