"""Several named wind instruments that the model wrote as one -> separated by their register.

The model often writes a brass or wind ensemble under one program ("Brass Section"). Where the
caller named two or more winds, each note of such a program gets one of them: a wind instrument
plays one note at a time, and of the notes that begin together the higher one mostly belongs to the
higher instrument. This needs the whole recording; `named_instruments.py` names notes one by one.
"""

import collections
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from msgspec import structs

from mt3_model.notes.instruments_option import NamedInstruments
from mt3_model.notes.named_instruments import find_middle, nearest_named
from mt3_model.notes.note import Note

_WINDS = frozenset({*range(56, 61), *range(64, 80)})
"""Brass, reeds and pipes that play one note at a time."""
_SEVERAL = 2
_MIN_NOTES = 8
"""With fewer notes, their pitches do not indicate registers."""
_SEMITONES = 6.0
"""A note half an octave from an instrument's middle costs 1."""
_BUSY = 4.0
"""Cost of a second note at a time: as much as two octaves."""
_TOGETHER_SECONDS = 0.05
"""Onsets within this time count as one, as in the metrics; ends may overlap by as much."""


def tell_winds_apart(notes: Sequence[Note], named: NamedInstruments) -> tuple[Note, ...]:
    """Give notes of programs that were not named to the named winds, by register.

    Only notes that `nearest_named` would give to one of several named winds change. The middle of
    an instrument's register is the mean of two values: that of General MIDI, and that of its share
    of these notes (of three winds, the lowest has the lowest third).

    Args:
        notes: pitched notes of the whole recording, with the model's programs.
        named: the named instruments.
    """
    winds = sorted(_WINDS.intersection(named.programs), key=find_middle)
    if len(winds) < _SEVERAL:
        return tuple(notes)
    pooled = [note for note in notes if _is_pooled(note, winds, named)]
    if len(pooled) < _MIN_NOTES:
        return tuple(notes)
    middles = _find_middles(winds, [note.pitch for note in pooled])
    ends: dict[int, float] = collections.defaultdict(float)
    changed = list(notes)
    for group in _groups(notes):
        free = [i for i in group if _is_pooled(notes[i], winds, named)]
        others = {notes[i].program for i in group} - {notes[i].program for i in free}
        start = notes[group[0]].start_time
        busy = others | {p for p in winds if ends[p] > start + _TOGETHER_SECONDS}
        programs = _assign([notes[i].pitch for i in free], middles, busy)
        for i, program in zip(free, programs, strict=True):
            changed[i] = structs.replace(notes[i], program=program)
        for i in group:
            ends[changed[i].program] = max(ends[changed[i].program], changed[i].end_time)
    return tuple(changed)


def _is_pooled(note: Note, winds: Sequence[int], named: NamedInstruments) -> bool:
    return (
        note.program not in named.allowed_programs
        and nearest_named(note.program, note.pitch, named) in winds
    )


def _find_middles(winds: Sequence[int], pitches: Sequence[int]) -> Mapping[int, float]:
    """Return the middle pitch of each wind, given from low to high."""
    shares = np.quantile(pitches, (np.arange(len(winds)) + 0.5) / len(winds))
    return {
        program: (find_middle(program) + float(share)) / 2
        for program, share in zip(winds, shares, strict=True)
    }


def _groups(notes: Sequence[Note]) -> list[list[int]]:
    """Return the positions of notes that begin together, from low to high."""
    groups: list[list[int]] = []
    for i in sorted(range(len(notes)), key=lambda i: (notes[i].start_time, notes[i].pitch)):
        begin = notes[groups[-1][0]].start_time if groups else -np.inf
        if notes[i].start_time - begin > _TOGETHER_SECONDS:
            groups.append([])
        groups[-1].append(i)
    for group in groups:
        group.sort(key=lambda i: notes[i].pitch)
    return groups


def _assign(
    pitches: Sequence[int], middles: Mapping[int, float], busy: Collection[int]
) -> list[int]:
    """Return the cheapest programs for ascending pitches, none below that of a lower pitch."""
    programs = sorted(middles, key=lambda program: middles[program])
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for pitch in pitches:
        found: list[tuple[float, list[int]]] = []
        for place, program in enumerate(programs):
            own = abs(pitch - middles[program]) / _SEMITONES + _BUSY * (program in busy)
            found.append(
                min(
                    (cost + own + _BUSY * (chosen[-1:] == [program]), [*chosen, program])
                    for cost, chosen in best
                    if not chosen or programs.index(chosen[-1]) <= place
                )
            )
        best = found
    return min(best)[1]
