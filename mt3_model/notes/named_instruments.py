"""The instruments that the caller named -> the tokens to forbid, and the program of each note.

The model was trained on few programs of each family and confuses families too: it writes a comping
guitar as an electric piano, or a horn as a brass section. If such a program is forbidden, the model
mostly leaves the note out instead of choosing the right program (measurements:
`mt3_model/postprocessing/README.md`). Generation therefore may use every program, but no drums if
none are named, and no pitches if only drums are named. `rename_notes` then gives each note the
named instrument that matches it best. Together they guarantee what the option
promises: every note belongs to a named instrument, and no note is deleted to achieve this.
"""

import collections
import functools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import structs

from mt3_model.codec.instrument_mask import forbid_other_instruments
from mt3_model.codec.vocabulary import MIDI_MAX
from mt3_model.notes.general_midi import PROGRAMS_PER_FAMILY
from mt3_model.notes.generated import ForbiddenTokens
from mt3_model.notes.instruments_option import NamedInstruments, programs_of
from mt3_model.notes.note import Note
from mt3_model.spec import VocabularySpec

_CLASSES: tuple[range, ...] = (
    range(4), range(4, 6), range(24, 26), range(26, 29), range(29, 32), range(32, 33),
    range(33, 40), range(44, 46), range(48, 52), range(52, 55), range(61, 64), range(64, 68),
    range(72, 80), range(80, 88), range(88, 96),
)  # fmt: skip
"""Programs of one family that sound alike. The classes of Slakh2100 (Manilow et al. 2019, table 1);
a program in none of them forms its own class."""
_CLASS_OF: Mapping[int, int] = MappingProxyType(
    {program: number for number, its in enumerate(_CLASSES) for program in its}
)
_RANGES: tuple[tuple[range, tuple[int, int]], ...] = (
    (range(4), (21, 108)), (range(4, 6), (28, 103)), (range(6, 7), (41, 89)),
    (range(7, 8), (36, 96)), (range(8, 9), (60, 108)), (range(9, 10), (72, 108)),
    (range(10, 11), (60, 84)), (range(11, 12), (53, 89)), (range(12, 13), (48, 84)),
    (range(13, 14), (65, 96)), (range(14, 15), (60, 77)), (range(15, 16), (60, 84)),
    (range(16, 19), (36, 96)), (range(19, 20), (21, 108)), (range(20, 21), (36, 96)),
    (range(21, 22), (53, 89)), (range(22, 23), (60, 84)), (range(23, 24), (53, 89)),
    (range(24, 32), (40, 86)), (range(32, 40), (28, 55)),
    (range(40, 41), (55, 96)), (range(41, 42), (48, 84)), (range(42, 43), (36, 72)),
    (range(43, 44), (28, 55)), (range(44, 46), (28, 96)), (range(46, 47), (23, 103)),
    (range(47, 48), (36, 57)), (range(48, 52), (28, 96)), (range(52, 55), (48, 79)),
    (range(56, 57), (58, 94)), (range(57, 58), (34, 75)), (range(58, 59), (29, 55)),
    (range(59, 60), (58, 82)), (range(60, 61), (41, 77)), (range(61, 64), (36, 96)),
    (range(64, 65), (54, 87)), (range(65, 66), (49, 80)), (range(66, 67), (42, 75)),
    (range(67, 68), (37, 68)), (range(68, 69), (58, 91)), (range(69, 70), (52, 81)),
    (range(70, 71), (34, 64)), (range(71, 72), (50, 91)), (range(72, 73), (74, 108)),
    (range(73, 76), (60, 96)), (range(104, 105), (48, 77)), (range(105, 106), (48, 84)),
    (range(110, 111), (55, 96)),
)  # fmt: skip
"""Lowest and highest pitch of instruments, after the ranges that the MIDI Manufacturers Association
recommends in the General MIDI Level 1 Developer Guidelines (1998)."""
_RANGE_OF: Mapping[int, tuple[int, int]] = MappingProxyType(
    {program: its for programs, its in _RANGES for program in programs}
)
_KNOWN_PROGRAMS = frozenset(
    {0, 4, 8, 16, 24, 26, 29, 33, 40, 41, 42, 43, 48, 52, 56, 57, 58, 60, 61, 64, 65, 66, 67, 68,
     70, 71, 73, 80, 88}
)  # fmt: skip
"""Programs that the model was trained to write: Slakh2100's classes and the instruments of URMP
and MusicNet (Gardner et al. 2022, table 1)."""
_USUAL_RANGE = (21, 108)
_DECAYING = frozenset(
    {*range(16), *range(24, 40), *range(45, 48), *range(104, 109), *range(112, 120)}
)
"""Programs whose notes decay; the notes of the others are sustained."""
_OTHER_DECAY = 1.0
"""Distance between a decaying and a sustained instrument, in half ranges: as much as a pitch at the
edge of an instrument's range. .5 to 2 score alike (`mt3_model/postprocessing/README.md`)."""
_CLASS, _FAMILY, _OTHER_FAMILY = range(3)


def forbid_unnamed(
    vocabulary: VocabularySpec, named: NamedInstruments | None
) -> ForbiddenTokens | None:
    """Return the tokens ``[V]`` that a recording of these instruments must not have.

    Args:
        vocabulary: The model's vocabulary.
        named: The named instruments; None forbids nothing.
    """
    if named is None:
        return None
    every = frozenset(range(MIDI_MAX + 1))
    return forbid_other_instruments(
        vocabulary,
        programs=every if named.allowed_programs else frozenset(),
        has_drums=named.has_drums,
    )


@functools.lru_cache(maxsize=4096)
def nearest_named(program: int, pitch: int, named: NamedInstruments) -> int:
    """Return the named program that matches a note of the model best.

    A named program keeps its notes. Otherwise the same kind of instrument comes first, then the
    same family. Among those, and among all others, it is the one whose register contains the pitch;
    a plucked or struck note is not given to a bowed or blown instrument, or the reverse, unless
    there is no other. Of a family named as a whole, only the programs that the model was trained on
    count.

    Args:
        program: The model's program.
        pitch: MIDI pitch of the note.
        named: Instruments with at least one program or family.
    """
    if program in named.allowed_programs:
        return program
    return min(
        _find_candidates(named),
        key=lambda other: (
            find_kinship(program, other),
            find_distance(program, pitch, other),
        ),
    )


@functools.lru_cache(maxsize=256)
def _find_candidates(named: NamedInstruments) -> tuple[int, ...]:
    """Return the programs that notes of other programs may get, ascending."""
    candidates = set(named.programs)
    for family in named.families:
        its = programs_of(family)
        candidates.update(_KNOWN_PROGRAMS.intersection(its) or its[:1])
    return tuple(sorted(candidates))


def rename_notes(notes: Sequence[Note], named: NamedInstruments) -> tuple[Note, ...]:
    """Give each note the named program that matches it best; drums stay drums.

    Args:
        notes: Notes of a generation under `forbid_unnamed`. A pitched note where only drums are
            named, or a drum where they are not, cannot occur in it; such notes are left out.
        named: The named instruments.
    """
    return tuple(
        note
        if note.is_drum
        else structs.replace(note, program=nearest_named(note.program, note.pitch, named))
        for note in notes
        if (named.has_drums if note.is_drum else bool(named.allowed_programs))
    )


def find_merged(notes: Iterable[Note], named: NamedInstruments) -> tuple[tuple[int, int], ...]:
    """Return named programs without notes, each with a named one of its family that has notes.

    The model may have written the notes of the first under the second.

    Args:
        notes: The final notes.
        named: The named instruments.
    """
    counts = collections.Counter(note.program for note in notes if not note.is_drum)
    merged: list[tuple[int, int]] = []
    for program in named.programs:
        if counts[program]:
            continue
        family = program // PROGRAMS_PER_FAMILY
        others = [other for other in named.programs if other // PROGRAMS_PER_FAMILY == family]
        most = max(others, key=lambda other: counts[other])
        if counts[most]:
            merged.append((program, most))
    return tuple(merged)


def find_kinship(program: int, other: int) -> int:
    """Return how closely two programs are related: 0 in one class, 1 in one family, else 2."""
    if program in _CLASS_OF and _CLASS_OF[program] == _CLASS_OF.get(other):
        return _CLASS
    if program // PROGRAMS_PER_FAMILY == other // PROGRAMS_PER_FAMILY:
        return _FAMILY
    return _OTHER_FAMILY


def find_distance(program: int, pitch: int, other: int) -> float:
    """Return how unlikely a note of one program is to be of another, by its decay and its pitch."""
    decay = 0.0 if (program in _DECAYING) == (other in _DECAYING) else _OTHER_DECAY
    return decay + find_register_distance(other, pitch)


def find_register_distance(program: int, pitch: int) -> float:
    """Return how far a pitch lies from the middle of an instrument's range, in half ranges."""
    low, high = _RANGE_OF.get(program, _USUAL_RANGE)
    return abs(pitch - find_middle(program)) / ((high - low) / 2)


def find_middle(program: int) -> float:
    """Return the middle of an instrument's range, a MIDI pitch."""
    low, high = _RANGE_OF.get(program, _USUAL_RANGE)
    return (low + high) / 2
