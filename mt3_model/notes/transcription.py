"""The noun that every answer is written from: the notes with their provenance.

The HTTP server, the command line and the library all return this value, and
`mt3_model/export` writes it as MIDI, JSON, NoteSequence or a picture.
"""

import dataclasses
from typing import Literal

from mt3_model.errors import OptionError
from mt3_model.notes.note import NoteSequence

Decoding = Literal["greedy", "reference"]
Precision = Literal["float32", "bfloat16"]
"""Of the network's products; float32 is the original's."""
PrecisionChoice = Literal["auto", "float32", "bfloat16"]
"""``auto``: by the hardware, as `mt3_model/generation/precision.py` says."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionWarning:
    """Something the caller should know about the recording or the notes."""

    code: str
    """Stable, machine-readable: for example ``truncated_audio``."""
    message: str
    start: float | None = None
    """Where in the recording it begins, seconds; absent where it concerns the whole."""
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelProvenance:
    """Which model made the notes."""

    name: str
    checkpoint_sha256: str
    """Of the checkpoint's files, as `mt3_model/checkpoint/loading.py` defines it."""
    code_version: str
    precision: Precision
    """In which it is loaded."""
    precision_setting: PrecisionChoice = "auto"
    """What was asked for when it was loaded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """What the caller chose."""

    model: str = "mt3"
    decoding: Decoding = "greedy"
    precision: PrecisionChoice = "auto"
    """A model is loaded in one precision: any other than that is refused."""
    start: float = 0.0
    """Transcribe from here, seconds into the recording."""
    end: float | None = None
    """Up to here, seconds into the recording; absent: to its end."""
    audio_track: int | None = None
    """The audio track to transcribe, counted from 1; absent: the container's default."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the transcription cost."""

    audio_seconds: float
    """Seconds of sound transcribed."""
    segments: int
    tokens: int
    """Tokens generated, ends included."""
    queue_seconds: float = 0.0
    """Waiting for the device."""
    wall_seconds: float = 0.0
    """From the first byte read to the last note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """One recording, transcribed. Note times are seconds of the recording's own clock."""

    notes: NoteSequence
    model: ModelProvenance
    options: TranscriptionOptions
    duration_seconds: float
    """Length of the sound transcribed: of the range asked for, seconds."""
    recording_seconds: float | None = None
    """Length of the whole recording, seconds; None where nothing reliable says it."""
    warnings: tuple[TranscriptionWarning, ...]
    usage: Usage
    invalid_events: int
    """Tokens that could not be decoded where they stood (common, counted, never raised)."""
    dropped_events: int
    """Tokens past their segment's share of time."""


def check_precision(options: TranscriptionOptions, model: ModelProvenance) -> None:
    """Raises `OptionError` where the caller asks for a precision that the model is not loaded in.

    One program of one precision serves all callers together.
    """
    if options.precision not in ("auto", model.precision):
        raise OptionError(
            "precision",
            f"precision is {options.precision!r}; the model is loaded in {model.precision};"
            f" expected auto or {model.precision} (whoever runs it chooses with --precision)",
        )
