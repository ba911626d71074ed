"""The notation of each General MIDI percussion key on a five-line percussion staff.

Positions and note heads follow Weinberg, Guidelines for Drumset Notation (Percussive Notes, June
1994): bass drum in the bottom space, snare in the third, toms between, hi-hat above the staff, ride
on the top line, crash on the first ledger line; cymbals have crosses. Feet are the lower voice.
Positions are those of the treble clef, as MusicXML's ``display-step`` has them.
"""

import collections
import dataclasses
from collections.abc import Sequence

from mt3_model.notes.general_midi import DRUM_NAMES
from mt3_model.score.quantization import QuantizedNote


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DrumPosition:
    """The notation of a percussion key."""

    step: str
    octave: int
    head: str
    """The note head's name in MusicXML."""
    is_foot: bool = False


_HANDS = (
    # Place, head, keys. Snares, toms and cymbals:
    ("C5", "normal", "38 40"), ("C5", "x", "37"), ("D5", "x", "39"), ("A4", "normal", "41 43"),
    ("B4", "normal", "45"), ("D5", "normal", "47 48"), ("E5", "normal", "50"),
    ("G5", "x", "42"), ("G5", "circle-x", "46"), ("F5", "x", "51 59"), ("F5", "diamond", "53"),
    ("A5", "x", "49"), ("B5", "x", "55 57"), ("B5", "circle-x", "52"),
    # Tambourine and cowbell, bongos, congas and timbales, shakers, triangles:
    ("B5", "triangle", "54"), ("E5", "triangle", "56"), ("E5", "diamond", "60 62"),
    ("D5", "diamond", "61 63"), ("C5", "diamond", "64"), ("E5", "square", "65"),
    ("D5", "square", "66"), ("C6", "x", "69 70 82"), ("C6", "triangle", "80 81"),
)  # fmt: skip
_FEET = (("F4", "normal", "35 36"), ("D4", "x", "44"))


def _positions() -> dict[int, DrumPosition]:
    return {
        int(key): DrumPosition(
            step=place[0], octave=int(place[1]), head=head, is_foot=rows is _FEET
        )
        for rows in (_HANDS, _FEET)
        for place, head, keys in rows
        for key in keys.split()
    }


_POSITIONS = _positions()
_OTHER = DrumPosition(step="A", octave=5, head="triangle")
"""Keys without a separate place: blocks, claves, whistles and the like."""


def merge_positions(notes: Sequence[QuantizedNote]) -> list[QuantizedNote]:
    """Keep one of the notes that would be written in the same place at the same time.

    The model often reports one stroke as two similar keys, such as both snares, or the ride and its
    bell, and no drummer opens and closes the hi-hat at once. The key that is more frequent stays.

    Args:
        notes: The notes by start.
    """
    frequency = collections.Counter(note.pitch for note in notes)
    kept: dict[tuple[int, str, int], QuantizedNote] = {}
    for note in notes:
        position = drum_position(note.pitch)
        place = note.start, position.step, position.octave
        if place not in kept or frequency[note.pitch] > frequency[kept[place].pitch]:
            kept[place] = note
    return list(kept.values())


def drum_position(key: int) -> DrumPosition:
    """Return the notation of a percussion key."""
    return _POSITIONS.get(key, _OTHER)


def drum_key_name(key: int) -> str:
    """Return the General MIDI name of a percussion key."""
    return DRUM_NAMES.get(key, f"Percussion {key}")
