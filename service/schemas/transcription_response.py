"""A transcription, as the HTTP API returns it.

`mt3_model/export/transcription_json.py` writes the document, for the command line too. The models
here describe it, and a test validates the one against the other.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mt3_model.notes.transcription import Kernels, Precision, PrecisionChoice, VelocitySource
from service.schemas.schema import Midi7, Schema, Seconds
from service.schemas.transcription_options import UsedOptions

_Confidence = Annotated[float, Field(ge=0, le=1)]


class TranscriptionModel(Schema):
    """The model that generated the notes."""

    name: str
    checkpoint_sha256: str
    """Digest of the model's parameters."""
    code_version: str
    precision: Precision
    """Precision of the network's matrix products."""
    precision_setting: PrecisionChoice
    """Precision set when the server was started; `auto` chooses by the hardware."""
    kernels: Kernels
    """Programs used for the computation: our own for the CPU (`numba`), XLA's (`xla`), or XLA's
    with attention for NVIDIA GPUs (`triton`)."""
    instruction_set: str | None
    """The processor's instruction set for matrix products, such as AVX2; null on an accelerator."""


class TranscriptionTrack(Schema):
    """The notes of one program, or the drums."""

    index: int
    """Index of the track in `tracks`; the `track` of its notes."""
    program: Midi7 | None
    """General MIDI program, from 0; null for drums, which have none."""
    name: str
    """General MIDI name, or Drums."""
    is_drum: bool
    note_count: int


class TranscriptionNote(Schema):
    """A note. Times are in seconds from the beginning of the recording."""

    start_time: Seconds
    end_time: Seconds
    pitch: Midi7
    """MIDI note number; for a drum, the General MIDI percussion key."""
    velocity: Midi7
    program: Midi7 | None
    """General MIDI program, from 0; null for drums, which have none."""
    is_drum: bool
    track: int
    """Index of the note's track in `tracks`."""
    instrument_name: str
    """General MIDI name of the program, or Drums."""
    drum_name: str | None
    """General MIDI name of a drum's key, such as Acoustic Snare; null for other notes, and for keys
    without a name."""
    confidence: _Confidence | None
    """Chance that the note is right; without the clean-up's step `confidence`, the probability that
    the model gave to the pitch at the onset, which is too high."""


class WarningResponse(Schema):
    """Something to know about the recording or the notes."""

    code: str
    message: str
    start: Seconds | None
    end: Seconds | None


class TempoResponse(Schema):
    """The tempo and the beats of the recording."""

    beats_per_minute: float
    """Median tempo, in beats of the time signature: a dotted quarter in 6/8."""
    confidence: _Confidence
    """Probability of this metrical level; 1 if the request named the tempo."""
    beats: list[float]
    """Times of the beats in seconds. The first may be before 0, if the recording begins between two
    beats."""
    downbeats: list[float]
    """Those beats that begin a bar."""


class TimeSignatureResponse(Schema):
    """The time signature of the recording."""

    numerator: int
    denominator: int
    confidence: _Confidence
    """Probability of the time signature and its downbeats; 1 if the request named both."""


class KeyResponse(Schema):
    """The key signature of the recording."""

    fifths: int
    """Sharps, or flats as a negative number."""
    mode: Literal["major", "minor"]
    name: str
    """For example, Eb major."""
    confidence: _Confidence


class TranscriptionUsage(Schema):
    """The cost of the transcription."""

    audio_seconds: Seconds
    segments: int
    tokens: int
    queue_seconds: Seconds
    """Time spent waiting for the device."""
    wall_seconds: Seconds
    """Time from the first byte read to the last note."""


class TranscriptionDiagnostics(Schema):
    """Output of the model that could not be used. Small numbers are normal."""

    invalid_events: int
    """Tokens that could not be decoded in their place."""
    dropped_events: int
    """Tokens with a time after the end of their segment's share."""


class StreamedTranscription(Schema):
    """A transcription without its notes, which the stream has already sent."""

    id: str
    object: Literal["transcription"]
    created: int
    """Seconds since 1970, UTC."""
    model: TranscriptionModel
    options: UsedOptions
    duration_seconds: Seconds
    """Length of the sound transcribed: the range from `start` to `end`."""
    recording_seconds: Seconds | None
    """Length of the whole recording; null if the range ends before its end and the file does not
    state the length."""
    velocity: VelocitySource
    """Origin of velocities: `constant` (127 for every note), `model`, or `estimated` from the
    recording by the clean-up."""
    tracks: list[TranscriptionTrack]
    tempo: TempoResponse | None
    """Null if the recording has too few notes."""
    time_signature: TimeSignatureResponse | None
    """Null if the recording has too few notes."""
    key: KeyResponse | None
    """Null if the recording has too few notes."""
    warnings: list[WarningResponse]
    usage: TranscriptionUsage
    diagnostics: TranscriptionDiagnostics


class TranscriptionResponse(StreamedTranscription):
    """A transcription."""

    notes: list[TranscriptionNote]
    """All notes, in the order of their onsets."""


class NoteSequenceResponse(BaseModel):
    """The answer for `notesequence_json`: the NoteSequence message of note_seq's music.proto."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    ticks_per_quarter: int = Field(alias="ticksPerQuarter")
