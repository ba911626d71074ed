"""The shapes of the HTTP answers, for the published contract (`openapi.json`).

The transcription itself is written by `mt3_model/export/transcription_json.py`, for the command
line too; what is here describes that document, and a test validates the one against the other.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mt3_model.notes.transcription import Decoding, Precision, PrecisionChoice

Midi7 = Annotated[int, Field(ge=0, le=127)]
Seconds = Annotated[float, Field(ge=0)]


class Shape(BaseModel):
    """A JSON object with exactly the fields named; their docstrings are published."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ModelShape(Shape):
    """Which model made the notes."""

    name: str
    checkpoint_sha256: str
    """Digest of the parameters."""
    code_version: str
    precision: Precision
    """Of the network's products."""
    precision_setting: PrecisionChoice
    """What the server was started with; auto: by its hardware."""


class OptionsShape(Shape):
    """The options as used."""

    model: str
    decoding: Decoding
    precision: Precision
    start: Seconds
    """Seconds into the recording."""
    end: Seconds | None
    """Seconds into the recording; null: its end."""
    audio_track: int | None
    """Counted from 1; null: the recording's default."""


class TrackShape(Shape):
    """The notes of one program, or the drums."""

    index: int
    """Its place in `tracks`, which its notes name as `track`."""
    program: Midi7 | None
    """General MIDI program, from 0; null for drums, which have none."""
    name: str
    """General MIDI name, or Drums."""
    is_drum: bool
    note_count: int


class NoteShape(Shape):
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


class WarningShape(Shape):
    """Something to know about the recording or the notes."""

    code: str
    message: str
    start: Seconds | None
    end: Seconds | None


class UsageShape(Shape):
    """What it cost."""

    audio_seconds: Seconds
    segments: int
    tokens: int
    queue_seconds: Seconds
    """Waiting for the device."""
    wall_seconds: Seconds
    """From the first byte read to the last note."""


class DiagnosticsShape(Shape):
    """What the model said that could not be used; some is normal."""

    invalid_events: int
    """Tokens that could not be decoded where they stood."""
    dropped_events: int
    """Tokens past their segment's share of time."""


class TranscriptionShape(Shape):
    """A transcription."""

    id: str
    object: Literal["transcription"]
    created: int
    """Seconds since 1970, UTC."""
    model: ModelShape
    options: OptionsShape
    duration_seconds: Seconds
    """Length of the sound transcribed: of the range from `start` to `end`."""
    recording_seconds: Seconds | None
    """Length of the whole recording; null where the range ends before it and its file does not say
    it."""
    tracks: list[TrackShape]
    notes: list[NoteShape]
    """In the order of their onsets."""
    warnings: list[WarningShape]
    usage: UsageShape
    diagnostics: DiagnosticsShape


class NoteSequenceShape(BaseModel):
    """The answer to `notesequence_json`: NoteSequence of note_seq's music.proto, as JSON."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    ticks_per_quarter: int = Field(alias="ticksPerQuarter")


class StartedEvent(Shape):
    """Always the first event: the recording is open and waits for the device."""

    type: Literal["transcription.started"]
    id: str
    """Of the transcription, and of its stream: `/v1/transcriptions/{id}/events`."""
    model: ModelShape
    options: OptionsShape
    duration_seconds: Seconds | None
    """Length of the range asked for, by the recording's own account; null where it gives none."""
    recording_seconds: Seconds | None
    """Length of the whole recording, by the same account."""
    created: int
    """Seconds since 1970, UTC."""


class SegmentEvent(Shape):
    """A segment is transcribed, and so are all before it; its notes follow."""

    type: Literal["segment"]
    index: int
    """0, 1, 2...: none is left out."""
    start: Seconds
    """Seconds of the recording."""
    end: Seconds
    note_count: int
    """How many `note` events follow it: of notes that ended in it."""


class NoteEvent(NoteShape):
    """A note that has ended; final. Sorted by onset, all of them are the `notes` of the JSON."""

    type: Literal["note"]


class WarningEvent(WarningShape):
    """Something to know, told when it is found."""

    type: Literal["warning"]


class ProgressEvent(Shape):
    """How far it is; follows the notes of each segment."""

    type: Literal["progress"]
    done_seconds: Seconds
    """Sound transcribed, from the start of the range."""
    total_seconds: Seconds | None
    """Length of the range; null while nobody knows."""
    fraction: Annotated[float, Field(ge=0, le=1)] | None
    """The one of the other."""


class StreamedTranscriptionShape(Shape):
    """A transcription whose notes have been sent before it."""

    id: str
    object: Literal["transcription"]
    created: int
    model: ModelShape
    options: OptionsShape
    duration_seconds: Seconds
    recording_seconds: Seconds | None
    tracks: list[TrackShape]
    warnings: list[WarningShape]
    usage: UsageShape
    diagnostics: DiagnosticsShape


class CompletedEvent(Shape):
    """Always the last event of a transcription that succeeds."""

    type: Literal["completed"]
    transcription: StreamedTranscriptionShape
    """As the JSON, without `notes`."""


class ErrorEvent(BaseModel):
    """Always the last event of a transcription that fails: the problem document, but for `type`."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: Literal["error"]
    title: str
    status: int
    """What an answer in one piece would have had."""
    detail: str
    code: str
    request_id: str | None
    retry_after_seconds: int | None = None
    """After how many seconds trying again may help, where that is known."""


class ProblemShape(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    """What was found, what was expected, what to do."""
    code: str
    """Stable name of the kind of error."""
    request_id: str | None
    param: str | None = None
    """The option at fault, where one is."""
    state: str | None = None
    """Of the model, where it is not ready."""


class HealthShape(Shape):
    """The process is alive."""

    status: Literal["ok"]


class ReadyShape(Shape):
    """The model is loaded and warm."""

    state: Literal["ready"]
    precision: Precision | None
    """Of the network's products; null where the server has no model of its own."""
    precision_setting: PrecisionChoice | None
    """What the server was started with; auto: by its hardware."""


class ServedModelShape(Shape):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    state: Literal["loading", "warming", "ready", "draining", "failed"]
    checkpoint_sha256: str | None
    """Digest of the parameters; null until they are loaded."""
    code_version: str | None
    precision: Precision | None
    """Of the network's products; null until the model is loaded."""
    precision_setting: PrecisionChoice | None
    """What the server was started with; auto: by its hardware."""
    segment_seconds: float
    """Length of the pieces that the model hears at once."""
    sample_rate: int
    """Hz; recordings are resampled to it."""


class ServedModelsShape(Shape):
    """The models of this server."""

    object: Literal["list"]
    data: list[ServedModelShape]


class InstrumentShape(Shape):
    """A program of General MIDI."""

    program: Midi7
    name: str
    family: str


class InstrumentsShape(Shape):
    """The instruments that tracks can have; drums come beside them."""

    object: Literal["list"]
    data: list[InstrumentShape]
