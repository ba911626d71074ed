"""The JSON answers of the API as values; field for field those of `service/api/schemas.py`.

They are written again here because the client stands alone; a test compares the two. Closed sets
(`decoding`, a model's `state`) are plain text: a later server may know more of them. Times are
seconds of the recording's own clock.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelProvenance:
    """Which model made the notes."""

    name: str
    checkpoint_sha256: str
    """Digest of the parameters."""
    code_version: str
    precision: str
    """Of the network's products: ``float32`` or ``bfloat16``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """The options as used."""

    model: str
    decoding: str
    precision: str
    start: float
    """Seconds into the recording."""
    end: float | None
    """Seconds into the recording; none: its end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """The notes of one program, or the drums."""

    program: int
    """General MIDI program, 0 to 127; 0 for drums."""
    name: str
    """General MIDI name, or Drums."""
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
    """MIDI note number, 0 to 127; of a drum, the General MIDI percussion key."""
    velocity: int
    """0 to 127."""
    program: int
    """General MIDI program, 0 to 127."""
    is_drum: bool
    confidence: float | None = None
    """Probability, 0 to 1, that the model gave to the note's pitch as it began."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionWarning:
    """Something to know about the recording or the notes."""

    code: str
    """Stable, machine-readable: for example ``truncated_audio``."""
    message: str
    start: float | None = None
    """Where it begins, seconds; none where it concerns the whole."""
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the transcription cost."""

    audio_seconds: float
    segments: int
    tokens: int
    queue_seconds: float
    """Waiting for the device."""
    wall_seconds: float
    """From the first byte read to the last note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostics:
    """What the model said that could not be used; some is normal."""

    invalid_events: int
    """Tokens that could not be decoded where they stood."""
    dropped_events: int
    """Tokens past their segment's share of time."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """One recording, transcribed."""

    id: str
    object: str
    """``transcription``."""
    created: int
    """Seconds since 1970, UTC."""
    model: ModelProvenance
    options: TranscriptionOptions
    duration_seconds: float
    """Length of the sound read."""
    tracks: tuple[Track, ...]
    warnings: tuple[TranscriptionWarning, ...]
    usage: Usage
    diagnostics: Diagnostics
    notes: tuple[Note, ...]
    """In the order of their onsets."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The process is alive."""

    status: str
    """``ok``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Whether the server can transcribe now."""

    state: str
    """``ready``, ``loading``, ``warming``, ``draining`` or ``failed``."""

    @property
    def is_ready(self) -> bool:
        """Whether it can."""
        return self.state == "ready"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model that can be asked for."""

    id: str
    object: str
    """``model``."""
    state: str
    """As in `Readiness`."""
    segment_seconds: float
    """Length of the pieces that the model hears at once."""
    sample_rate: int
    """Hz; recordings are resampled to it."""
    checkpoint_sha256: str | None = None
    """Digest of the parameters; none until they are loaded."""
    code_version: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServedModels:
    """The models of a server, as it lists them."""

    data: tuple[ServedModel, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """A program of General MIDI that tracks can have."""

    program: int
    """0 to 127."""
    name: str
    family: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Instruments:
    """The instruments, as a server lists them."""

    data: tuple[Instrument, ...]
