"""A transcription whose every field is set."""

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)

PIANO = Note(pitch=60, start_time=0.1 + 0.2, end_time=0.5, velocity=127, confidence=0.123456)
DRUM = Note(pitch=36, start_time=0.2, end_time=0.21, velocity=127, is_drum=True, instrument=9)
TRANSCRIPTION = Transcription(
    notes=NoteSequence(notes=(PIANO, DRUM), total_time=0.5),
    model=ModelProvenance(
        name="mt3", checkpoint_sha256="ab", code_version="1.2", precision="float32"
    ),
    options=TranscriptionOptions(decoding="reference", start=0.1),
    duration_seconds=2.0,
    warnings=(TranscriptionWarning(code="truncated_audio", message="cut", start=1.0),),
    usage=Usage(audio_seconds=2.0, segments=1, tokens=9, queue_seconds=0.25, wall_seconds=1.5),
    invalid_events=3,
    dropped_events=4,
)
