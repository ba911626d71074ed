"""A transcription as the HTTP API answers with it.

`mt3_model/export/transcription_json.py` writes the document, for the command line too. The models
here describe it, and a test validates the one against the other.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mt3_model.notes.transcription import Precision, PrecisionChoice
from service.schemas.schema import Midi7, Schema, Seconds
from service.schemas.transcription_options import UsedOptions


class TranscriptionModel(Schema):
    """Which model made the notes."""

    name: str
    checkpoint_sha256: str
    """Digest of the parameters."""
    code_version: str
    precision: Precision
    """Of the network's products."""
    precision_setting: PrecisionChoice
    """What the server was started with; auto: by its hardware."""


class TranscriptionTrack(Schema):
    """The notes of one program, or the drums."""

    index: int
    """Its place in `tracks`, which its notes name as `track`."""
    program: Midi7 | None
    """General MIDI program, from 0; null for drums, which have none."""
    name: str
    """General MIDI name, or Drums."""
    is_drum: bool
    note_count: int


class TranscriptionNote(Schema):
    """One note; times in seconds of the recording."""

    start_time: Seconds
    end_time: Seconds
    pitch: Midi7
    """MIDI note number; of a drum, the General MIDI percussion key."""
    velocity: Midi7
    program: Midi7 | None
    """General MIDI program, from 0; null for drums, which have none."""
    is_drum: bool
    track: int
    """Index of its track in `tracks`."""
    instrument_name: str
    """General MIDI name of the program, or Drums."""
    drum_name: str | None
    """General MIDI name of a drum's key, such as Acoustic Snare; null for other notes and keys."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None
    """Probability that the model gave to the note's pitch as it began."""


class WarningResponse(Schema):
    """Something to know about the recording or the notes."""

    code: str
    message: str
    start: Seconds | None
    end: Seconds | None


class TranscriptionUsage(Schema):
    """What it cost."""

    audio_seconds: Seconds
    segments: int
    tokens: int
    queue_seconds: Seconds
    """Waiting for the device."""
    wall_seconds: Seconds
    """From the first byte read to the last note."""


class TranscriptionDiagnostics(Schema):
    """What the model said that could not be used; some is normal."""

    invalid_events: int
    """Tokens that could not be decoded where they stood."""
    dropped_events: int
    """Tokens past their segment's share of time."""


class TranscriptionResponse(Schema):
    """A transcription."""

    id: str
    object: Literal["transcription"]
    created: int
    """Seconds since 1970, UTC."""
    model: TranscriptionModel
    options: UsedOptions
    duration_seconds: Seconds
    """Length of the sound transcribed: of the range from `start` to `end`."""
    recording_seconds: Seconds | None
    """Length of the whole recording; null where the range ends before it and its file does not say
    it."""
    tracks: list[TranscriptionTrack]
    notes: list[TranscriptionNote]
    """In the order of their onsets."""
    warnings: list[WarningResponse]
    usage: TranscriptionUsage
    diagnostics: TranscriptionDiagnostics


class NoteSequenceResponse(BaseModel):
    """The answer to `notesequence_json`: NoteSequence of note_seq's music.proto, as JSON."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    ticks_per_quarter: int = Field(alias="ticksPerQuarter")
