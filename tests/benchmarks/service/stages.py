"""Measure the host's stages of one song, each alone: processor seconds without its company."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from mt3_model.audio import isolation
from mt3_model.export.formats import ExportFormat, export
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.transcription import ModelProvenance, Transcription, TranscriptionOptions
from mt3_model.postprocessing.cleaning import clean_up_transcription, open_sound
from mt3_model.rhythm.estimation import add_musical_time
from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment, split_segments
from tests.benchmarks.service.descendants import seconds_of_descendants
from tests.benchmarks.service.recorded_tokens import read_recorded

T = TypeVar("T")
_OPTIONS = TranscriptionOptions()
_RATE = MT3.spectrogram.sample_rate


def measure_stages(song: bytes, seconds: float) -> dict[str, float]:
    """Return processor seconds of this process and its children, by stage.

    Args:
        song: a recording as a file.
        seconds: its length.
    """
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        best = float("inf")
        for _ in range(3):
            began = _cpu_seconds()
            result = work()
            best = min(best, _cpu_seconds() - began)
        spent[name] = best
        return result

    with tempfile.TemporaryDirectory() as folder:
        path, broken = Path(folder) / "song", Path(folder) / "broken"
        path.write_bytes(song)
        broken.write_bytes(os.urandom(100))
        timed("refuse a file", lambda: _refuse(broken))
        blocks = timed("read", lambda: _read(path))
    segments = timed("split", lambda: [*split_segments(iter(blocks), MT3)])
    sound = open_sound(_OPTIONS, _RATE)
    assert sound is not None
    timed("sound", lambda: [sound.add_samples(segment.samples) for segment in segments])
    sound = open_sound(_OPTIONS, _RATE)
    assert sound is not None
    for segment in segments:
        sound.add_samples(segment.samples)
    transcription = timed("assemble", lambda: _assemble(segments, seconds))
    cleaned = timed("clean up", lambda: clean_up_transcription(transcription, sound))
    timed("beats", lambda: add_musical_time(cleaned))
    for form in (ExportFormat.JSON, ExportFormat.MIDI, ExportFormat.NOTESEQUENCE):
        timed(form.value, lambda form=form: _export(cleaned, form))
    return spent


def _cpu_seconds() -> float:
    return time.process_time() + seconds_of_descendants()


def _refuse(path: Path) -> None:
    try:
        isolation.open_recording(path, sample_rate=_RATE)
    except Exception:
        return
    raise AssertionError("random bytes are no recording")


def _read(path: Path) -> list[np.ndarray]:
    with isolation.open_recording(path, sample_rate=_RATE) as recording:
        return [*recording.blocks()]


def _assemble(segments: list[Segment], seconds: float) -> Transcription:
    recorded = read_recorded()
    assembler = RecordingAssembler(MT3, _OPTIONS)
    for segment in segments:
        assembler.add_segment(segment, recorded[segment.index % len(recorded)])
    provenance = ModelProvenance(
        name="mt3", checkpoint_sha256="paced", code_version="0", precision="bfloat16"
    )
    return assembler.finish(model=provenance, duration_seconds=seconds)


def _export(transcription: Transcription, form: ExportFormat) -> bytes:
    return export(transcription, form, transcription_id="tr_0", created=0)
