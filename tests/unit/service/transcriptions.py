"""A transcription for tests that need any."""

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    Usage,
)

TRANSCRIPTION = Transcription(
    notes=NoteSequence(
        notes=(Note(pitch=60, start_time=0.0, end_time=1.0, velocity=127),), total_time=1.0
    ),
    model=ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32"),
    options=TranscriptionOptions(),
    duration_seconds=1.0,
    warnings=(),
    usage=Usage(audio_seconds=1.0, segments=1, tokens=1),
    invalid_events=0,
    dropped_events=0,
)
