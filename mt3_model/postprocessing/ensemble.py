"""Programs that flicker between segments -> the few parts of the whole recording.

The model decides on instruments anew in every segment of 2 s, so that one part appears under
several programs. First, programs of one family that hardly ever sound together are joined. Then a
program is a part of the ensemble if it has a good share of the notes (a comping piano), or plays
in many segments (a bass has few notes, but everywhere), or leads for a while (a solo). The notes of
all other programs go to the nearest part. Only programs change; every note stays.
"""

import bisect
import collections
import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int
from msgspec import structs

from mt3_model.notes.general_midi import PROGRAMS_PER_FAMILY
from mt3_model.notes.note import Note
from mt3_model.spec import MT3

MIN_SHARE = 0.1
"""Share of the pitched notes that makes a program a part. .06 and .1 score alike (README)."""
MIN_PRESENCE = 0.3
"""Share of the segments in which a part has an onset; .2 to .4 score alike (README)."""
_MIN_SEGMENTS = 3
_SEGMENT_SECONDS = MT3.segment_seconds
"""The length of the encoder's input."""
_LEAD_SECONDS = 8.0
"""A program that leads for about four segments in a row is not an error of one segment, so a solo
in a long piece keeps its program."""
_LEAD_SHARE = 0.3
_LEAD_NOTES = 8
_SEMITONES_PER_SECOND = 2.0
"""Weight of time against pitch: a part's nearest note half a second away is as near as one a
semitone away."""
_REACH_SECONDS = 8.0
"""Distance within which the nearest note is searched first."""
_STEP_SECONDS = 0.02
_MAX_TOGETHER = 0.4
"""Two programs of one family that sound together less than this share of the time of the smaller
one are one instrument under two names; two real guitars mostly play at once."""
_SAME_REGISTER = 12
"""Semitones between the median pitches up to which two programs share a register."""


def find_parts(notes: Sequence[Note], known: Collection[int] = ()) -> frozenset[int]:
    """Return the programs that are instruments of the recording.

    Args:
        notes: pitched notes.
        known: programs that are instruments of it for certain, if they have notes.
    """
    counts = collections.Counter(note.program for note in notes)
    if not counts:
        return frozenset()
    present = _count_segments(notes)
    least = max(MIN_PRESENCE * _segment(max(n.end_time for n in notes)), _MIN_SEGMENTS)
    parts = {
        program
        for program, count in counts.items()
        if program in known or count >= MIN_SHARE * len(notes) or present[program] >= least
    }
    starts = sorted(note.start_time for note in notes)
    for program in set(counts) - parts:
        if _leads(sorted(n.start_time for n in notes if n.program == program), starts):
            parts.add(program)
    return frozenset(parts or {min(counts, key=lambda program: (-counts[program], program))})


def relabel_minor_programs(notes: Sequence[Note], known: Collection[int] = ()) -> tuple[Note, ...]:
    """Give each note of a minor program to the part nearest in pitch and time.

    A part of the same family comes before all others.

    Args:
        notes: pitched notes.
        known: programs that are parts for certain.
    """
    parts = find_parts(notes, known)
    anchors = sorted(
        (note for note in notes if note.program in parts),
        key=lambda note: (note.start_time, note.pitch, note.program),
    )
    families: dict[int, list[Note]] = collections.defaultdict(list)
    for anchor in anchors:
        families[_family(anchor)].append(anchor)
    everything = _Anchors(anchors)
    by_family = {family: _Anchors(its) for family, its in families.items()}
    return tuple(
        note
        if note.program in parts
        else structs.replace(
            note, program=by_family.get(_family(note), everything).nearest_program(note)
        )
        for note in notes
    )


def join_alternating_programs(
    notes: Sequence[Note], known: Collection[int] = ()
) -> tuple[Note, ...]:
    """Join programs of one family and register that hardly ever sound together.

    Both get the program with more notes. The pair that overlaps least is joined first, until
    none is left.

    Args:
        notes: pitched notes.
        known: programs that are instruments of their own for certain: two of them are not joined,
            and a program joined with one of them becomes that one.
    """
    current = list(notes)
    while (pair := _find_alternating(current, known)) is not None:
        main, other = pair
        current = [
            structs.replace(note, program=main) if note.program == other else note
            for note in current
        ]
    return tuple(current)


def _leads(program_starts: Sequence[float], starts: Sequence[float]) -> bool:
    """Return whether a program has a good share of all onsets for some seconds."""
    for first, start in enumerate(program_starts):
        limit = start + _LEAD_SECONDS
        last = bisect.bisect_left(program_starts, limit)
        count = bisect.bisect_left(starts, limit) - bisect.bisect_left(starts, start)
        lasts = program_starts[last - 1] - start > _LEAD_SECONDS / 2
        if lasts and last - first >= max(_LEAD_NOTES, _LEAD_SHARE * count):
            return True
    return False


def _count_segments(notes: Sequence[Note]) -> Mapping[int, int]:
    """Return, per program, in how many segments it has an onset."""
    places = {(note.program, _segment(note.start_time)) for note in notes}
    return collections.Counter(program for program, _ in places)


def _segment(seconds: float) -> int:
    """Return the number of the segment, counted from 1."""
    return int(seconds / _SEGMENT_SECONDS) + 1


def _family(note: Note) -> int:
    return note.program // PROGRAMS_PER_FAMILY


class _Anchors:
    """Notes of the ensemble's parts, by onset."""

    def __init__(self, notes: Sequence[Note]) -> None:
        """Take the notes in the order of their onsets."""
        self._notes = notes
        self._starts = np.array([note.start_time for note in notes])
        self._pitches = np.array([note.pitch for note in notes])

    def nearest_program(self, note: Note) -> int:
        """Return the program of the note nearest in pitch and time; of equals, the first."""
        first = int(self._starts.searchsorted(note.start_time - _REACH_SECONDS))
        last = int(self._starts.searchsorted(note.start_time + _REACH_SECONDS, side="right"))
        if first == last:
            first, last = 0, len(self._notes)
        seconds = np.abs(self._starts[first:last] - note.start_time)
        semitones = np.abs(self._pitches[first:last] - note.pitch)
        nearest = int(np.argmin(_SEMITONES_PER_SECOND * seconds + semitones))
        return self._notes[first + nearest].program


def _find_alternating(notes: Sequence[Note], known: Collection[int]) -> tuple[int, int] | None:
    """Return the two programs to join, first the one to keep; None if there are none."""
    groups: dict[int, list[Note]] = collections.defaultdict(list)
    for note in notes:
        groups[note.program].append(note)
    by_size = sorted(
        groups, key=lambda program: (program not in known, -len(groups[program]), program)
    )
    sounding = _sounding(groups)
    best: tuple[float, int, int] | None = None
    for main, other in itertools.combinations(by_size, 2):
        if main // PROGRAMS_PER_FAMILY != other // PROGRAMS_PER_FAMILY:
            continue
        if other in known:  # then main is known as well
            continue
        if abs(_median_pitch(groups[main]) - _median_pitch(groups[other])) > _SAME_REGISTER:
            continue
        shorter = min(sounding[main].sum(), sounding[other].sum())
        together = float((sounding[main] & sounding[other]).sum() / shorter)
        if together <= _MAX_TOGETHER and (best is None or together < best[0]):
            best = together, main, other
    return None if best is None else best[1:]


def _sounding(groups: Mapping[int, Sequence[Note]]) -> Mapping[int, Bool[np.ndarray, " T"]]:
    """Return, per program, in which steps of 20 ms it sounds."""
    end = max((note.end_time for group in groups.values() for note in group), default=0.0)
    length = int(end / _STEP_SECONDS) + 2
    sounding: dict[int, Bool[np.ndarray, " T"]] = {}
    for program, group in groups.items():
        first = _steps([note.start_time for note in group])
        last = np.maximum(_steps([note.end_time for note in group]), first + 1)
        begun, ended = np.bincount(first, minlength=length), np.bincount(last, minlength=length)
        sounding[program] = np.cumsum(begun - ended) > 0
    return sounding


def _steps(seconds: Sequence[float]) -> Int[np.ndarray, " N"]:
    return (np.maximum(seconds, 0.0) / _STEP_SECONDS).astype(int)


def _median_pitch(notes: Sequence[Note]) -> float:
    return float(np.median([note.pitch for note in notes]))
