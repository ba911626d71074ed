"""One sounding note written for two programs -> one note.

The model names the instrument with every note, and where two are similarly probable it often writes
the note for both. Two instruments in true unison look the same; they too become one note, since a
listener cannot tell them apart and a wrong duplicate adds a track.

A bass keeps its notes. Slakh2100 labels bass an octave above its sound, so the model writes notes
that it recognizes as bass there, and the others at the pitch that sounds; `octaves.py` moves the
former onto the latter.
"""

import collections
import itertools
from collections.abc import Iterator, Sequence

from msgspec import structs

from mt3_model.notes.note import Note
from mt3_model.postprocessing.octaves import BASS_PROGRAMS

MAX_ONSET_DISTANCE_SECONDS = 0.03
"""Three symbolic steps: closer onsets of one pitch are heard as one. Source: Hirsh, "Auditory
perception of temporal order", JASA 31 (1959): listeners perceive the order of two sounds from about
20 ms on."""


def merge_duplicates(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Merge notes of one pitch whose onsets are at most 30 ms apart.

    The bass's note stays, else that of the program with the most notes in the recording. It lasts
    as long as the longest of them; its onset, velocity and confidence are its own. Notes keep their
    order.

    Args:
        notes: pitched notes of the whole recording.
    """
    counts = collections.Counter(note.program for note in notes)
    kept: dict[int, Note] = {}
    for group in _groups(notes):
        # Of notes of equal rank the earliest is kept, whatever their order.
        winner = min(
            group,
            key=lambda i: (
                notes[i].program not in BASS_PROGRAMS,
                -counts[notes[i].program],
                notes[i].start_time,
                notes[i].program,
            ),
        )
        end_time = max(notes[i].end_time for i in group)
        kept[winner] = structs.replace(notes[winner], end_time=end_time)
    return tuple(kept[i] for i in sorted(kept))


def _groups(notes: Sequence[Note]) -> Iterator[list[int]]:
    """Yield the positions of notes of one pitch whose successive onsets are close."""
    order = sorted(range(len(notes)), key=lambda i: (notes[i].pitch, notes[i].start_time))
    group = order[:1]
    for earlier, later in itertools.pairwise(order):
        distance = notes[later].start_time - notes[earlier].start_time
        if notes[later].pitch != notes[earlier].pitch or distance > MAX_ONSET_DISTANCE_SECONDS:
            yield group
            group = []
        group.append(later)
    if group:
        yield group
