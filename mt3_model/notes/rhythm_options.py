"""The options with which the caller specifies tempo and bars.

`TranscriptionOptions` holds them as text, as they are written in requests; these functions check
and read them. They are in a layer below `mt3_model/rhythm`, which uses them.
"""

import dataclasses
import re
from typing import Literal

from mt3_model.errors import OptionError
from mt3_model.notes.time_signature import TimeSignature

MIN_TEMPO, MAX_TEMPO = 20.0, 400.0
"""Beats per minute that the caller may name."""
MAX_NUMERATOR = 16
EXPECTED_TEMPO = (
    f"beats per minute from {MIN_TEMPO:g} to {MAX_TEMPO:g}, or half or double of the estimate"
)
EXPECTED_TIME_SIGNATURE = f"1 to {MAX_NUMERATOR}, a slash, and 2, 4 or 8, such as 3/4"
Quantize = Literal["none", "1/4", "1/8", "1/8t", "1/16", "1/16t", "1/32"]
GRIDS = {"1/4": 1, "1/8": 2, "1/8t": 3, "1/16": 4, "1/16t": 6, "1/32": 8}
"""The grids of ``quantize`` with their steps per quarter note; ``t`` means triplets."""
EXPECTED_QUANTIZE = f"none, {', '.join(list(GRIDS)[:-1])} or {list(GRIDS)[-1]}"
_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,6})?", re.ASCII)
_TIME_SIGNATURE = re.compile(r"(\d{1,2})/([248])", re.ASCII)
_SHOWN_CHARACTERS = 40

Tempo = float | Literal["half", "double"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KnownRhythm:
    """The tempo and bars that the caller specified; None for values to be estimated."""

    tempo: Tempo | None = None
    """Beats (of the time signature) per minute, or how to change the estimate."""
    time_signature: TimeSignature | None = None
    first_downbeat: float | None = None
    """Seconds from the recording's start."""


def parse_tempo(value: str) -> Tempo:
    """Read beats per minute, ``half`` or ``double``.

    Raises:
        OptionError: the text is none of them, or the number is out of range.
    """
    if value in ("half", "double"):
        return value
    if _NUMBER.fullmatch(value) and MIN_TEMPO <= float(value) <= MAX_TEMPO:
        return float(value)
    raise OptionError("tempo", f"tempo is {_shown(value)}; expected {EXPECTED_TEMPO}")


def parse_time_signature(value: str) -> TimeSignature:
    """Read a time signature such as ``3/4``.

    Raises:
        OptionError: the text is not a time signature that can be written.
    """
    found = _TIME_SIGNATURE.fullmatch(value)
    if found is None or not 1 <= int(found[1]) <= MAX_NUMERATOR:
        raise OptionError(
            "time_signature",
            f"time_signature is {_shown(value)}; expected {EXPECTED_TIME_SIGNATURE}",
        )
    return TimeSignature(numerator=int(found[1]), denominator=int(found[2]))


def parse_quantize(value: str) -> int | None:
    """Read the grid of the quantized MIDI file.

    Returns:
        The steps per quarter note; None for ``none``.

    Raises:
        OptionError: there is no such grid.
    """
    if value == "none":
        return None
    if value not in GRIDS:
        raise OptionError("quantize", f"quantize is {_shown(value)}; expected {EXPECTED_QUANTIZE}")
    return GRIDS[value]


def read_known_rhythm(
    tempo: str | None, time_signature: str | None, first_downbeat: float | None
) -> KnownRhythm:
    """Read the options of a transcription.

    Raises:
        OptionError: an option has no valid value.
    """
    return KnownRhythm(
        tempo=None if tempo is None else parse_tempo(tempo),
        time_signature=None if time_signature is None else parse_time_signature(time_signature),
        first_downbeat=first_downbeat,
    )


def _shown(value: str) -> str:
    return repr(value[:_SHOWN_CHARACTERS])
