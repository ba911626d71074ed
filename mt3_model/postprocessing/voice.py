"""The recording's sound -> a warning of a voice, on which the model was not trained.

It needs no notes, so it can be computed as soon as the whole recording is read.
"""

from mt3_model.notes.transcription import TranscriptionWarning
from mt3_model.postprocessing.singing import is_likely_singing
from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.postprocessing.speech import is_likely_speech

SPEECH_WARNING = TranscriptionWarning(
    code="likely_speech",
    message="the recording sounds like speech; the model was trained on music, so the notes mean"
    " little",
)
SINGING_WARNING = TranscriptionWarning(
    code="likely_singing",
    message="a voice seems to sing in the recording; the model was trained on instruments, so its"
    " notes for the voice are unsure",
)


def warn_of_voice(sound: RecordingSound | None) -> tuple[TranscriptionWarning, ...]:
    """Return the warning of speech or that of singing, never both.

    Args:
        sound: the whole recording; None (nothing was kept) gives no warning.
    """
    if sound is None:
        return ()
    if is_likely_speech(sound):
        return (SPEECH_WARNING,)
    return (SINGING_WARNING,) if is_likely_singing(sound) else ()
