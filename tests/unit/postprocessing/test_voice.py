"""Speech and singing give a warning, and never both."""

from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.postprocessing.voice import SINGING_WARNING, SPEECH_WARNING, warn_of_voice
from tests.unit.postprocessing.tones import SAMPLE_RATE, sample_singing, sample_voice


def sound(samples) -> RecordingSound:
    kept = RecordingSound(SAMPLE_RATE)
    kept.add_samples(samples)
    return kept


def test_a_voice_gives_a_warning() -> None:
    assert warn_of_voice(sound(sample_voice(syllables=True, glides=True))) == (SPEECH_WARNING,)
    singing = sound(sample_singing(vibrato=True, consonants=True))
    assert warn_of_voice(singing) == (SINGING_WARNING,)


def test_without_sound_there_is_no_warning() -> None:
    assert warn_of_voice(None) == ()
    assert warn_of_voice(RecordingSound(SAMPLE_RATE)) == ()
