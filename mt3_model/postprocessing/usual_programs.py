"""The model's one program of a class of instruments -> the program that is usual in such music.

The model was trained on classes: program 8 stands for all of chromatic percussion, 29 for
overdriven and distorted guitars, 33 for all electric basses, and so on (Gardner et al. 2022,
appendix; the first program names a class, common or not). Which member of the class plays is not
in the tokens.
Two things tell more than the class's first program: which members arrangements use, and whether
there are drums. An acoustic ensemble has no drums as a rule, and hardly ever an electric bass, a
drawbar organ or synthesized strings; a band with drums hardly ever has a classical guitar.

Only programs change, and only within a family, except that a bass among brass alone is a tuba, and
among bowed strings alone a contrabass.
"""

import collections
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from msgspec import structs

from mt3_model.notes.note import Note
from mt3_model.postprocessing.octaves import BASS_PROGRAMS

_CELESTA, _GLOCKENSPIEL, _VIBRAPHONE = 8, 9, 11
_ACOUSTIC_BASS, _CONTRABASS, _TUBA = 32, 43, 58
_BOWED_STRINGS = range(40, 52)
_BRASS = range(56, 64)
_GLOCKENSPIEL_PITCH = 89
"""F6, the highest note of a vibraphone of three octaves."""

_ALWAYS: Mapping[int, int] = MappingProxyType(
    {
        29: 30,  # overdriven -> distortion guitar
        64: 65,  # soprano -> alto saxophone
        88: 89,  # new age -> warm pad
    }
)
_WITH_DRUMS: Mapping[int, int] = MappingProxyType(
    {
        24: 25,  # nylon -> steel-string guitar
    }
)
_WITHOUT_DRUMS: Mapping[int, int] = MappingProxyType(
    {
        16: 19,  # drawbar -> church organ
        50: 48,  # synthesized strings -> string ensemble
        61: 60,  # brass section -> French horn
    }
)


def choose_usual_programs(notes: Sequence[Note], *, has_drums: bool) -> tuple[Note, ...]:
    """Replace programs that stand for a class by its usual member.

    Args:
        notes: pitched notes of the whole recording, with the programs of its parts.
        has_drums: whether it has drums.
    """
    pitches: dict[int, list[int]] = collections.defaultdict(list)
    for note in notes:
        pitches[note.program].append(note.pitch)
    usual = {
        program: _choose(program, its, pitches.keys(), has_drums=has_drums)
        for program, its in pitches.items()
    }
    return tuple(
        note
        if usual[note.program] == note.program
        else structs.replace(note, program=usual[note.program])
        for note in notes
    )


def _choose(
    program: int, pitches: Sequence[int], parts: Collection[int], *, has_drums: bool
) -> int:
    if program == _CELESTA:
        return _GLOCKENSPIEL if np.median(pitches) >= _GLOCKENSPIEL_PITCH else _VIBRAPHONE
    if program in _ALWAYS:
        return _ALWAYS[program]
    if has_drums:
        return _WITH_DRUMS.get(program, program)
    if program in BASS_PROGRAMS:
        return _choose_acoustic_bass(program, [part for part in parts if part not in BASS_PROGRAMS])
    return _WITHOUT_DRUMS.get(program, program)


def _choose_acoustic_bass(program: int, others: Sequence[int]) -> int:
    """Return the program of a bass that plays with the programs of other parts, without drums."""
    if not others:
        return program
    if all(part in _BRASS for part in others):
        return _TUBA
    if all(part in _BOWED_STRINGS for part in others):
        return _CONTRABASS
    return _ACOUSTIC_BASS
