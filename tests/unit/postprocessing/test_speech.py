"""Speech is imitated by its signs: syllables of changing lengths, and partials that glide."""

import numpy as np
import pytest
from jaxtyping import Float32

from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.postprocessing.speech import (
    MAX_STEADINESS,
    MIN_MODULATION,
    is_likely_speech,
    measure_modulation,
    measure_periodicity,
    measure_steadiness,
)
from tests.unit.postprocessing.tones import (
    SAMPLE_RATE,
    VOICE_SECONDS,
    note,
    sample_notes,
    sample_voice,
)


def recorded(samples: Float32[np.ndarray, " N"]) -> RecordingSound:
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(samples)
    return sound


def test_gliding_syllables_are_speech() -> None:
    assert is_likely_speech(recorded(sample_voice(syllables=True, glides=True)))


@pytest.mark.parametrize(("syllables", "glides"), [(True, False), (False, True), (False, False)])
def test_one_sign_alone_is_not_speech(syllables: bool, glides: bool) -> None:
    assert not is_likely_speech(recorded(sample_voice(syllables=syllables, glides=glides)))


def test_syllables_that_repeat_as_exactly_as_a_loop_are_not_speech() -> None:
    loop = recorded(sample_voice(syllables=True, glides=True, regular=True))
    assert measure_modulation(loop.band_levels) >= MIN_MODULATION
    assert measure_steadiness(loop.low_band) <= MAX_STEADINESS
    assert measure_periodicity(loop.band_levels) > 0.9
    assert not is_likely_speech(loop)


def test_notes_are_not_speech() -> None:
    notes = [note(60 + i % 5, i / 4, i / 4 + 0.2) for i in range(48)]
    assert not is_likely_speech(recorded(sample_notes(notes, VOICE_SECONDS)))


@pytest.mark.parametrize("seconds", [0.0, 0.016, 2.048])
def test_short_or_silent_recordings_are_not_speech(seconds: float) -> None:
    assert not is_likely_speech(
        recorded(sample_voice(syllables=True, glides=True, seconds=seconds))
    )
    silence = recorded(np.zeros(round(seconds * SAMPLE_RATE), np.float32))
    assert measure_modulation(silence.band_levels) == 0.0
    assert measure_steadiness(silence.low_band) == 1.0
    assert measure_periodicity(silence.band_levels) == 0.0


def test_pauses_do_not_count() -> None:
    speech = sample_voice(syllables=True, glides=True)
    assert is_likely_speech(recorded(np.concatenate([speech, np.zeros_like(speech)])))
