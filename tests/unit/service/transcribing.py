"""A transcriber over the fake backend, and files for it."""

import contextlib
import io

import numpy as np
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MT3
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.recording_opener import RecordingOpener
from service.recordings.work import LocalRecordingWork
from service.transcriber import Transcriber

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")


@contextlib.asynccontextmanager
async def transcribing(
    backend=None,
    *,
    bound=1e6,
    max_open=8,
    metrics=None,
    engine_type=Engine,
    open_work=LocalRecordingWork,
    **limits,
):
    engine = engine_type(backend or FakeBackend(MT3, slots=2), MT3, max_waiting_audio_seconds=bound)
    try:
        opener = RecordingOpener(
            engine,
            limits=ReadingLimits(**limits),
            max_open_recordings=max_open,
            open_work=open_work,
            metrics=metrics,
        )
        yield Transcriber(engine, opener, MODEL)
    finally:
        await engine.close()


def write(folder, seconds, name="a.wav"):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * 16_000), np.float32), 16_000, format="WAV")
    path = folder / name
    path.write_bytes(buffer.getvalue())
    return path
