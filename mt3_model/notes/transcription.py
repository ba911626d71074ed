"""`Transcription`: the notes of one recording, with provenance, warnings and usage.

The library, the command line and the HTTP server all produce this value, and `mt3_model/export`
writes it as MIDI, JSON, NoteSequence or a picture.
"""

import dataclasses
from typing import TYPE_CHECKING, Literal

from mt3_model.errors import OptionError
from mt3_model.notes.note import NoteSequence

if TYPE_CHECKING:
    # At run time this line would import NumPy, which the command line must be able to start
    # without.
    from mt3_model.notes.musical_time import MusicalTime

Decoding = Literal["greedy", "reference"]
Quality = Literal["standard", "high"]
"""``high`` makes a second pass over the recording (`mt3_model/postprocessing/stitching.py`)."""
Precision = Literal["float32", "bfloat16"]
"""The precision of the network's matrix products; float32 is the original's."""
PrecisionChoice = Literal["auto", "float32", "bfloat16"]
"""``auto`` chooses by the hardware (`mt3_model/hardware.py`)."""
VelocitySource = Literal["constant", "model", "estimated"]
"""Origin of velocities: 127 for all notes, the model's tokens, or the recording's levels."""
Kernels = Literal["numba", "triton", "xla"]
"""The programs that compute: the CPU's own, compiled by numba (`mt3_model/cpu`); XLA's, with cached
attention compiled by Triton (`mt3_model/network/gpu_attention.py`); or all XLA's."""
KernelsChoice = Literal["auto", "on", "off"]
"""Whether to use the project's own programs for a device; ``auto`` chooses by the hardware."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionWarning:
    """Something the caller should know about the recording or the notes."""

    code: str
    """A stable, machine-readable code, for example ``truncated_audio``."""
    message: str
    start: float | None = None
    """The start in seconds of the affected range; None if the whole recording is affected."""
    end: float | None = None
    """The end in seconds of the affected range."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelProvenance:
    """The model, checkpoint and code that generated the notes."""

    name: str
    checkpoint_sha256: str
    """The digest of the parameters, as defined in `mt3_model/checkpoint/digest.py`."""
    code_version: str
    precision: Precision
    """The precision in which the model is loaded."""
    precision_setting: PrecisionChoice = "auto"
    """The precision requested when the model was loaded."""
    kernels: Kernels = "xla"
    """The programs that compute."""
    instruction_set: str | None = None
    """The processor's widest instruction set for matrix products; None on an accelerator."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """The options chosen by the caller."""

    model: str = "mt3"
    decoding: Decoding = "greedy"
    precision: PrecisionChoice = "auto"
    """``auto``, or the precision in which the model is loaded; others are rejected."""
    start: float = 0.0
    """The start of the range to transcribe, in seconds."""
    end: float | None = None
    """The end of the range to transcribe, in seconds; None for the end of the recording."""
    audio_track: int | None = None
    """The audio track to transcribe, counted from 1; None for the container's default."""
    postprocess: str = "default"
    """The clean-up of the notes: ``default``, ``none`` for the notes as the model wrote them, or
    steps of `postprocess_option.py` separated by commas."""
    instruments: tuple[str, ...] = ()
    """Every instrument in the recording, by the names of `instruments_option.py`; notes are
    assigned to no others. Without names every instrument is possible."""
    quality: Quality = "standard"
    """``standard``, or ``high`` for a second pass that repairs notes at segment borders, for twice
    the device's work."""
    tempo: str | None = None
    """The tempo in beats per minute, or ``half`` or ``double`` of the estimate; None to estimate.
    `rhythm_options.py` reads this option and the following ones."""
    time_signature: str | None = None
    """The time signature, such as ``3/4``; None to estimate."""
    first_downbeat: float | None = None
    """The time of a downbeat in seconds from the recording's start; None to estimate."""
    quantize: str = "none"
    """The grid of the MIDI file's notes, such as ``1/16``; ``none`` for the times as played."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """The amount of work and the time that a transcription took."""

    audio_seconds: float
    """Seconds of sound transcribed."""
    segments: int
    tokens: int
    """Tokens generated, end tokens included."""
    queue_seconds: float = 0.0
    """Seconds spent waiting for the device."""
    wall_seconds: float = 0.0
    """Seconds from the first byte read to the last note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """The transcription of one recording.

    Note times count from the recording's start, even if only a range of it was transcribed.
    """

    notes: NoteSequence
    model: ModelProvenance
    options: TranscriptionOptions
    duration_seconds: float
    """Seconds of sound transcribed, which is the length of the requested range."""
    recording_seconds: float | None = None
    """Seconds of the whole recording; None if not reliably known."""
    warnings: tuple[TranscriptionWarning, ...]
    usage: Usage
    invalid_events: int
    """Tokens with no meaning where they stood; common, and never an error."""
    dropped_events: int
    """Tokens timed after the start of the next segment."""
    velocity: VelocitySource = "constant"
    """The origin of the notes' velocities."""
    musical_time: "MusicalTime | None" = None
    """Beats, bars and key; None if they were not estimated."""


def check_precision(options: TranscriptionOptions, model: ModelProvenance) -> None:
    """Raise `OptionError` if the caller asks for another precision than the model is loaded in.

    All callers share one loaded model, so the precision cannot change per request.
    """
    if options.precision not in ("auto", model.precision):
        raise OptionError(
            "precision",
            f"precision is {options.precision!r}; the model is loaded in {model.precision};"
            f" expected auto or {model.precision} (the server's operator sets --precision)",
        )
