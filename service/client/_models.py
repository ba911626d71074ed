"""The API's JSON documents as dataclasses, and the options of a request.

The fields are those of the server's own models, repeated here because the client depends only on
httpx2; a test compares the two. Closed sets such as `decoding` or a model's `state`
are `str`, because a later server may have more values. Times are seconds from the start of the
recording.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypedDict

ResponseFormat = Literal[
    "json",
    "jsonl",
    "midi",
    "notesequence",
    "notesequence_json",
    "piano_roll",
    "piano_roll_svg",
    "musicxml",
    "score_pdf",
]
"""The formats of a result, by the API's names."""


class Options(TypedDict, total=False):
    """Options of a transcription; for those missing or None, the server uses its defaults."""

    model: str | None
    """One of the names that `models()` lists."""
    decoding: Literal["greedy", "reference"] | None
    """``reference`` is the original's one-beam search, which is slower."""
    precision: Literal["auto", "float32", "bfloat16"] | None
    """Precision of the network's matrix products; refused if the server has loaded the other
    one."""
    start: float | None
    """Start of the range to transcribe, seconds into the recording."""
    end: float | None
    """End of the range to transcribe, seconds into the recording."""
    audio_track: int | None
    """Audio track of a recording that has several, counted from 1."""
    postprocess: str | None
    """Clean-up of the notes: ``default``, ``none``, or steps separated by commas."""
    instruments: Sequence[str | int] | str | None
    """Every instrument in the recording; notes are then assigned to no others. General MIDI program
    numbers, program or family names, or ``drums``."""
    quality: Literal["standard", "high"] | None
    """``high`` makes a second pass, which repairs notes at the borders of the model's segments and
    doubles the work."""
    tempo: float | str | None
    """Beats per minute; or ``half`` or ``double``, for half or twice the estimate."""
    time_signature: str | None
    """Time signature of the recording, such as ``3/4``."""
    first_downbeat: float | None
    """The time of a downbeat, seconds into the recording."""
    quantize: Literal["none", "1/4", "1/8", "1/8t", "1/16", "1/16t", "1/32"] | None
    """Grid of the notes in MIDI files; ``none`` for the times as played."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelProvenance:
    """The model that produced the notes."""

    name: str
    checkpoint_sha256: str
    """Digest of the parameters."""
    code_version: str
    precision: str
    """Precision of the network's matrix products: ``float32`` or ``bfloat16``."""
    precision_setting: str = "auto"
    """Precision set when the server was started; ``auto`` chooses by the hardware."""
    kernels: str = "xla"
    """Programs used: ``numba`` (the CPU's own), ``xla``, or ``triton`` (XLA with our GPU
    attention)."""
    instruction_set: str | None = None
    """The processor's instruction set for matrix products, such as AVX2; None on an accelerator."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """The options as the server used them."""

    model: str
    decoding: str
    precision: str
    start: float
    """Seconds into the recording."""
    end: float | None
    """Seconds into the recording; None: its end."""
    audio_track: int | None = None
    """Audio track, counted from 1; None: the recording's default."""
    postprocess: str = "none"
    """Clean-up of the notes; none on servers older than this field."""
    instruments: tuple[str, ...] = ()
    """Instruments named in the request, the only ones of the notes; empty: any is possible."""
    quality: str = "standard"
    """``high`` after a second pass; servers older than this field make one pass."""
    tempo: str | None = None
    """Tempo that the request named."""
    time_signature: str | None = None
    """Time signature that the request named."""
    first_downbeat: float | None = None
    """Downbeat that the request named, seconds."""
    quantize: str = "none"
    """Grid of the notes in MIDI files."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """The notes of one program, or the drums."""

    index: int
    """Index among the tracks; the `Note.track` of its notes."""
    program: int | None
    """General MIDI program, 0 to 127; None for drums."""
    name: str
    """General MIDI name, or ``Drums``."""
    is_drum: bool
    note_count: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One note."""

    start_time: float
    """Seconds."""
    end_time: float
    """Seconds."""
    pitch: int
    """MIDI note number, 0 to 127; for a drum, the General MIDI percussion key."""
    velocity: int
    """0 to 127."""
    program: int | None
    """General MIDI program, 0 to 127; None for drums."""
    is_drum: bool
    track: int
    """Index of the note's track."""
    instrument_name: str
    """General MIDI name of the program, or ``Drums``."""
    drum_name: str | None = None
    """General MIDI name of a drum's key; None for other notes and other keys."""
    confidence: float | None = None
    """The chance, 0 to 1, that the note is right; without the clean-up's step ``confidence``, the
    model's probability of this pitch at the onset."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionWarning:
    """A warning about the recording or the notes; also an event of a stream."""

    code: str
    """Stable and machine-readable, for example ``truncated_audio``."""
    message: str
    start: float | None = None
    """Start of the range concerned, seconds; None: the whole recording."""
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tempo:
    """The tempo and the beats of a recording."""

    beats_per_minute: float
    """Median tempo, in beats of the time signature: a dotted quarter in 6/8."""
    confidence: float
    """Probability, 0 to 1, of this metrical level; 1 if the request named the tempo."""
    beats: tuple[float, ...]
    """Times of the beats, seconds; the first may be before 0."""
    downbeats: tuple[float, ...]
    """Those beats that begin a bar."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeSignature:
    """The time signature of a recording."""

    numerator: int
    denominator: int
    confidence: float
    """Probability, 0 to 1, of the time signature and its downbeats."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The key signature of a recording."""

    fifths: int
    """Sharps, or flats as a negative number."""
    mode: str
    """``major`` or ``minor``."""
    name: str
    """For example, Eb major."""
    confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """The cost of the transcription."""

    audio_seconds: float
    segments: int
    tokens: int
    queue_seconds: float
    """Time spent waiting for the device."""
    wall_seconds: float
    """Time from the first byte read to the last note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostics:
    """Model output that could not be used; a little is normal."""

    invalid_events: int
    """Tokens that could not be decoded at their position."""
    dropped_events: int
    """Tokens with a time after the end of their segment's share."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """The transcription of one recording."""

    id: str
    object: str
    """``transcription``."""
    created: int
    """Seconds since 1970, UTC."""
    model: ModelProvenance
    options: TranscriptionOptions
    duration_seconds: float
    """Length of the transcribed range."""
    recording_seconds: float | None
    """Length of the whole recording; None if it is not known."""
    tracks: tuple[Track, ...]
    warnings: tuple[TranscriptionWarning, ...]
    usage: Usage
    diagnostics: Diagnostics
    notes: tuple[Note, ...]
    """Ordered by onset."""
    velocity: str = "constant"
    """Origin of velocities: ``constant``, ``model`` or ``estimated`` from the recording."""
    tempo: Tempo | None = None
    """None if there are too few notes, or if the server is older than this field."""
    time_signature: TimeSignature | None = None
    """None if there are too few notes, or if the server is older than this field."""
    key: Key | None = None
    """None if there are too few notes, or if the server is older than this field."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """First event of a stream: the recording was received and its transcription begins."""

    id: str
    """Id of the transcription."""
    model: ModelProvenance
    options: TranscriptionOptions
    """The options as the server uses them."""
    created: int
    """Seconds since 1970, UTC."""
    duration_seconds: float | None = None
    """Length of the requested range; None if the file does not declare its length."""
    recording_seconds: float | None = None
    """Length of the whole recording; None if the file does not declare it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Event of a stream: how much of the recording is transcribed."""

    done_seconds: float
    total_seconds: float | None = None
    """None while the length is unknown."""
    fraction: float | None = None
    """0 to 1; None while the length is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Event of a stream: one segment, and every earlier one, is decoded."""

    index: int
    """From 0."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    note_count: int
    """Number of notes that ended in this segment."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """Last event of a stream: the transcription is complete."""

    transcription: Transcription
    """The result. Its ``notes``, ordered by onset, are final. Without a clean-up and a second pass
    they are the stream's `Note` events; otherwise those were provisional."""


Event = Started | Progress | Segment | Note | TranscriptionWarning | Completed
"""An event of a transcription's stream."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The answer of the liveness probe."""

    status: str
    """``ok``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Whether the server can transcribe now."""

    state: str
    """``ready``, ``loading``, ``warming``, ``draining`` or ``failed``."""
    precision: str | None = None
    """``float32`` or ``bfloat16``; None while the server is not ready or if it has no model."""
    precision_setting: str | None = None
    """The operator's setting, which may be ``auto``; None in the same cases."""

    @property
    def is_ready(self) -> bool:
        """Whether the server can transcribe now."""
        return self.state == "ready"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model that the server offers."""

    id: str
    object: str
    """``model``."""
    state: str
    """``ready``, ``loading``, ``warming``, ``draining`` or ``failed``."""
    segment_seconds: float
    """Length of the segments that the model reads at once."""
    sample_rate: int
    """Hz; recordings are resampled to this rate."""
    checkpoint_sha256: str | None = None
    """Digest of the parameters; None until they are loaded."""
    code_version: str | None = None
    precision: str | None = None
    """``float32`` or ``bfloat16``; None until the model is loaded."""
    precision_setting: str | None = None
    """The operator's setting, which may be ``auto``; None until the model is loaded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """A General MIDI program that a track can have."""

    program: int
    """0 to 127."""
    name: str
    family: str
