"""Two passes over one recording -> one sequence of notes, none cut or doubled at a border.

The model writes each segment without the sound of the next one, so it misses notes and ends near
a border. The second pass's segments begin half a segment later, so that each border of one pass is
in the middle of a segment of the other::

    first    |    a    |    b    |    c    |
    second        |    x    |    y    |
    trusted  first   |second| first|second | ...

At every moment the pass whose border is further away is trusted: in a window of half a segment
around the middle of each of its segments. Up to the first window the first pass is trusted, since
the start of a recording is not a border. A note stays if its pass is trusted at its onset, and ends
where the passes that are trusted after its onset end it.
"""

import bisect
import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import structs

from mt3_model.notes.decoding import number_instruments
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.trimming import trim_overlapping_notes

MAX_ONSET_DISTANCE_SECONDS = 0.05
"""Largest distance of the onsets of one note in both passes: the tolerance with which
transcriptions are scored. Source: mir_eval ``transcription.match_notes``, ``onset_tolerance``."""
_ROUNDING_SECONDS = 1e-9
"""Allowance for the rounding errors of times that are multiples of 10 ms."""

_Pass = Literal[0, 1]
_FIRST: _Pass = 0
_SECOND: _Pass = 1
_Sounding = Mapping[tuple[int, int, int], Note]
"""By (window, pitch, program): the note that sounds where the window begins, in the pass that is
trusted there."""


def stitch_passes(
    first: NoteSequence, second: NoteSequence, *, segment_seconds: float, start: float = 0.0
) -> NoteSequence:
    """Stitch the notes of two passes.

    Notes of both passes with one pitch and onsets at most 50 ms apart are one note, of one program
    if possible: the note of the pass that is trusted at their mean onset.

    Args:
        first: notes of the pass whose segments begin at ``start``.
        second: notes of the pass whose segments begin half a segment later.
        segment_seconds: length of a segment, seconds.
        start: time of the first sample on the notes' clock, seconds.

    Returns:
        Notes in the order in which they end. Of one pitch and program no two overlap: the earlier
        ends at the later one's onset. Instruments are numbered anew.
    """
    windows = _Windows(half_seconds=segment_seconds / 2, start=start)
    sounding = _index_sounding((first.notes, second.notes), windows)
    chosen = _choose_notes(first.notes, second.notes, windows)
    stitched = [note if note.is_drum else _settle_end(note, windows, sounding) for note in chosen]
    trimmed = trim_overlapping_notes(NoteSequence(notes=tuple(stitched), total_time=0.0))
    ordered = sorted(
        trimmed.notes,
        key=lambda note: (note.end_time, note.start_time, note.is_drum, note.program, note.pitch),
    )
    return NoteSequence(notes=number_instruments(ordered), total_time=trimmed.total_time)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Windows:
    """The windows in which a pass is trusted, numbered by time; each is half a segment long."""

    half_seconds: float
    start: float

    def number(self, time: float) -> int:
        """Return the number of the window that contains a time."""
        return max(math.floor((time - self.start) / self.half_seconds + 0.5), 0)

    def begin(self, window: int) -> float:
        """Return the time at which a window begins."""
        return self.start + (window - 0.5) * self.half_seconds

    def trusted(self, window: int) -> _Pass:
        """Return the pass that is trusted in a window."""
        return 0 if window % 2 or window == 0 else 1


def _choose_notes(first: Sequence[Note], second: Sequence[Note], windows: _Windows) -> list[Note]:
    """Return the notes that stay."""
    partners = _match_notes(first, second)
    chosen: list[Note] = []
    for i, j in partners.items():
        onset = (first[i].start_time + second[j].start_time) / 2
        chosen.append((first[i], second[j])[windows.trusted(windows.number(onset))])
    matched = set(partners.values())
    alone = [(note, _FIRST) for i, note in enumerate(first) if i not in partners]
    alone += [(note, _SECOND) for j, note in enumerate(second) if j not in matched]
    chosen += [
        note for note, source in alone if windows.trusted(windows.number(note.start_time)) == source
    ]
    return chosen


def _match_notes(first: Sequence[Note], second: Sequence[Note]) -> dict[int, int]:
    """Pair notes of one pitch with close onsets, the closest first, by position.

    Notes of one program are paired before those of two, since a part may double another.
    """
    candidates: dict[tuple[int, bool], list[tuple[float, int]]] = collections.defaultdict(list)
    for j, note in enumerate(second):
        candidates[note.pitch, note.is_drum].append((note.start_time, j))
    for same_pitch in candidates.values():
        same_pitch.sort()
    reach = MAX_ONSET_DISTANCE_SECONDS + _ROUNDING_SECONDS
    pairs: list[tuple[bool, float, int, int]] = []
    for i, note in enumerate(first):
        same_pitch = candidates.get((note.pitch, note.is_drum), [])
        near = bisect.bisect_left(same_pitch, (note.start_time - reach, 0))
        for onset, j in _up_to(same_pitch, near, note.start_time + reach):
            distance = abs(note.start_time - onset)
            pairs.append((note.program != second[j].program, distance, i, j))
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, i, j in sorted(pairs):
        if i not in partners and j not in taken:
            partners[i] = j
            taken.add(j)
    return partners


def _up_to(
    onsets: Sequence[tuple[float, int]], position: int, last: float
) -> Iterator[tuple[float, int]]:
    """Yield from a position on, as long as the onset is not later than ``last``."""
    while position < len(onsets) and onsets[position][0] <= last:
        yield onsets[position]
        position += 1


def _index_sounding(passes: Iterable[Sequence[Note]], windows: _Windows) -> _Sounding:
    index: dict[tuple[int, int, int], Note] = {}
    for source, notes in zip((_FIRST, _SECOND), passes, strict=True):
        for note in notes:
            if note.is_drum:
                continue
            for window in range(
                windows.number(note.start_time) + 1, windows.number(note.end_time) + 1
            ):
                if windows.trusted(window) == source:
                    index[window, note.pitch, note.program] = note
    return index


def _settle_end(note: Note, windows: _Windows, sounding: _Sounding) -> Note:
    """Follow a note through the windows and end it where the pass trusted there ends it.

    If that pass has no such note, the pass that decided before still decides.
    """
    followed = note
    window = windows.number(note.start_time) + 1
    while windows.begin(window) < followed.end_time:
        followed = sounding.get((window, note.pitch, note.program), followed)
        window += 1
    if followed.end_time == note.end_time:
        return note
    return structs.replace(note, end_time=followed.end_time)
