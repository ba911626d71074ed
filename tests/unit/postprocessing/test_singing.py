"""Singing is imitated by its two signs: a pitch that glides, and consonants between the vowels."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float32

from mt3_model.audio.isolation import open_recording
from mt3_model.audio.recording import ReadingLimits
from mt3_model.postprocessing.singing import (
    MIN_ARTICULATION,
    MIN_GLIDES,
    is_likely_singing,
    measure_articulation,
    measure_glides,
)
from mt3_model.postprocessing.sound import RecordingSound
from tests.unit.postprocessing.tones import (
    SAMPLE_RATE,
    VOICE_SECONDS,
    note,
    sample_notes,
    sample_singing,
)

DEV_CLIPS = 12


def recorded(samples: Float32[np.ndarray, " N"]) -> RecordingSound:
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(samples)
    return sound


def test_vibrato_with_consonants_is_singing() -> None:
    assert is_likely_singing(recorded(sample_singing(vibrato=True, consonants=True)))


@pytest.mark.parametrize(("vibrato", "consonants"), [(True, False), (False, True), (False, False)])
def test_one_sign_alone_is_not_singing(vibrato: bool, consonants: bool) -> None:
    sound = recorded(sample_singing(vibrato=vibrato, consonants=consonants))
    assert (measure_glides(sound.low_band) >= MIN_GLIDES) == vibrato
    assert (measure_articulation(sound.band_levels) >= MIN_ARTICULATION) == consonants
    assert not is_likely_singing(sound)


@pytest.mark.parametrize("slope", [-1, 1])
def test_a_steady_glide_is_one_in_either_direction(slope: int) -> None:
    times = np.arange(round(VOICE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    octaves = slope * (times % 1.024) / 1.024  # 1,200 cents in 32 moments
    phase = 2 * np.pi * np.cumsum(300.0 * 2.0**octaves) / SAMPLE_RATE
    samples = np.sum([np.sin(h * phase) for h in range(1, 6)], axis=0) * 0.05
    assert measure_glides(recorded(samples.astype(np.float32)).low_band) > 0.8


@pytest.mark.slow
def test_notes_do_not_glide() -> None:
    notes = [note(60 + i % 5, i / 4, i / 4 + 0.2) for i in range(48)]
    assert measure_glides(recorded(sample_notes(notes, VOICE_SECONDS)).low_band) == 0.0


@pytest.mark.parametrize("seconds", [0.0, 0.016, 2.048])
def test_short_or_silent_recordings_are_not_singing(seconds: float) -> None:
    sung = recorded(sample_singing(vibrato=True, consonants=True, seconds=seconds))
    silence = recorded(np.zeros(round(seconds * SAMPLE_RATE), np.float32))
    for sound in (sung, silence):
        assert measure_glides(sound.low_band) == 0.0
        assert measure_articulation(sound.band_levels) == -np.inf


def test_pauses_do_not_count() -> None:
    sung = sample_singing(vibrato=True, consonants=True)
    assert is_likely_singing(recorded(np.concatenate([sung, np.zeros_like(sung)])))


def test_a_long_recording_is_measured_like_its_parts() -> None:
    sung = sample_singing(vibrato=True, consonants=True)
    long = recorded(np.tile(sung, 6))
    assert measure_glides(long.low_band) == pytest.approx(
        measure_glides(recorded(sung).low_band), abs=0.02
    )


@pytest.mark.shared
def test_no_dev_clip_is_singing(shared_folder: pathlib.Path, show: Callable[[str], None]) -> None:
    measured: dict[str, tuple[float, float]] = {}
    for path in sorted((shared_folder / "eval" / "dev").glob("*.ogg")):
        sound = RecordingSound(SAMPLE_RATE)
        with open_recording(
            path,
            sample_rate=SAMPLE_RATE,
            start=0.0,
            end=None,
            audio_track=None,
            limits=ReadingLimits(),
        ) as recording:
            samples = np.concatenate([np.array(block) for block in recording.blocks()])
        sound.add_samples(samples[: len(samples) // 32_768 * 32_768])
        measured[path.stem] = (
            measure_glides(sound.low_band),
            measure_articulation(sound.band_levels),
        )
        assert not is_likely_singing(sound), (path.stem, measured[path.stem])
    assert len(measured) == DEV_CLIPS
    show(f"greatest share of glides in dev clips: {max(g for g, _ in measured.values()):.3f}")
