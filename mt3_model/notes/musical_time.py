"""`MusicalTime`: where the beats and bars of a recording are, and its key.

`mt3_model/rhythm` estimates it from the notes; `mt3_model/export` writes it into MIDI, JSON, the
score and the piano roll.
"""

import dataclasses
import itertools
import statistics
from typing import Literal

from mt3_model.notes.time_signature import TimeSignature


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key signature."""

    fifths: int
    """The sharps (positive) or flats (negative), -7 to 7, as in MusicXML."""
    mode: Literal["major", "minor"]
    confidence: float
    """In [0, 1]; 1 if the caller named the key."""


_TONICS = (
    "Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#",
    "A#",
)  # fmt: skip
"""The circle of fifths, from the major key of seven flats to the minor key of seven sharps."""


def key_name(key: Key) -> str:
    """Return the name of a key, such as ``Eb major``."""
    return f"{_TONICS[key.fifths + 7 + (3 if key.mode == 'minor' else 0)]} {key.mode}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MusicalTime:
    """The beats, bars and key of one recording. Times are seconds from the recording's start."""

    beat_times: tuple[float, ...]
    """The time of each beat, strictly increasing; at least two. The first is at or before the first
    onset (and may be before 0, if the recording begins between two beats), the last at or after the
    last offset."""
    time_signature: TimeSignature
    first_downbeat: int
    """The index in ``beat_times`` of the first beat that begins a bar; less than
    ``time_signature.beats_per_bar``. The beats before it are the pickup."""
    key: Key | None
    tempo_confidence: float
    """In [0, 1]; 1 if the caller named the tempo."""
    meter_confidence: float
    """In [0, 1], of the time signature and the first downbeat; 1 if the caller named both."""

    @property
    def tempo(self) -> float:
        """The median tempo in beats (of the time signature) per minute."""
        lengths = (end - start for start, end in itertools.pairwise(self.beat_times))
        return 60.0 / statistics.median(lengths)

    def is_downbeat(self, beat: int) -> bool:
        """Return whether the beat of this index begins a bar."""
        return (beat - self.first_downbeat) % self.time_signature.beats_per_bar == 0
