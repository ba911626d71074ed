"""Stray notes -> notes of a neighboring part, or none: tracks of a few notes, and a bass's chords.

Every staff adds a line of rests to every page. A few notes among hundreds do not justify one: they
are rarely a real instrument, and nearly always notes that the model assigned to the wrong one. A
drum kit plays several times in each bar, so stray drums are recognized by their small share of the
notes.

Notes that are too high for a bass are another instrument's chords, which the model assigned to the
bass that sounds with them.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from mt3_model.notes.note import Note
from mt3_model.notes.tracks import Track

MAX_STRAY_SHARE = 0.02
"""A stray track has at most this share of the notes. Of the tracks of the 12 development clips and
of 14 others these rules catch four, with 1 to 4 notes (0.3 to 1.3 %); none was in the music."""
MAX_STRAY_NOTES = 4
"""A stray track of pitched notes has at most this many: more are a line that can be played."""
_OCTAVE = 12
_BASSES = range(32, 40)
_HIGHEST_OF_BASS = 67
"""G4, the last fret of a bass guitar with 24 frets; double bass players rarely play that high."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GatheredTracks:
    """The tracks that get staves."""

    tracks: tuple[Track, ...]
    left_out: tuple[str, ...]
    """The notes that no track could take, such as ``2 of Drums``."""


def gather_strays(tracks: Sequence[Track]) -> GatheredTracks:
    """Give stray notes and stray tracks to the nearest track; leave out stray drums.

    Args:
        tracks: the tracks of a recording, none empty.

    Returns:
        The other tracks in the same order. Each stray pitched note is in the track that has a note
        nearest to it, where an octave of pitch counts as much as a second of time; without another
        pitched track it is left out.
    """
    count = sum(len(track.notes) for track in tracks)
    strays = [track for track in tracks if _is_stray(track, count)]
    kept = [track for track in tracks if track not in strays]
    left_out: list[str] = []
    for stray in strays:
        takers = [i for i, t in enumerate(kept) if not t.is_drum and not stray.is_drum]
        if not takers:
            left_out.append(f"{len(stray.notes)} of {stray.name}")
            continue
        nearest = min(takers, key=lambda i: _distance(stray.notes, kept[i]))
        kept[nearest] = _with_notes(kept[nearest], stray.notes)
    kept = _move_unplayable(kept)
    return GatheredTracks(tracks=tuple(kept), left_out=tuple(left_out))


def _is_stray(track: Track, count: int) -> bool:
    few = len(track.notes) <= MAX_STRAY_SHARE * count
    return few and (track.is_drum or len(track.notes) <= MAX_STRAY_NOTES)


def _move_unplayable(tracks: Sequence[Track]) -> list[Track]:
    """Give the notes that are too high for a bass to the track that has a note nearest to each."""
    moved = list(tracks)
    takers = [
        index for index, track in enumerate(tracks)
        if not track.is_drum and track.program not in _BASSES
    ]  # fmt: skip
    for index, track in enumerate(tracks):
        if track.is_drum or track.program not in _BASSES or not takers:
            continue
        highest = _highest_of_bass(track.notes)
        kept = tuple(note for note in track.notes if note.pitch <= highest)
        moved[index] = dataclasses.replace(track, notes=kept)
        for note in track.notes:
            if note.pitch > highest:
                nearest = min(takers, key=lambda i: _distance([note], tracks[i]))
                moved[nearest] = _with_notes(moved[nearest], [note])
    return moved


def _highest_of_bass(notes: Sequence[Note]) -> float:
    """Return the pitch above which notes do not belong to the bass: nearer to unplayable ones."""
    unplayable = [note.pitch for note in notes if note.pitch > _HIGHEST_OF_BASS]
    playable = [note.pitch for note in notes if note.pitch <= _HIGHEST_OF_BASS]
    if not unplayable or not playable:
        return math.inf
    return (statistics.median(playable) + min(unplayable)) / 2


def _with_notes(track: Track, notes: Sequence[Note]) -> Track:
    together = sorted((*track.notes, *notes), key=lambda note: note.end_time)
    return dataclasses.replace(track, notes=tuple(together))


def _distance(strays: Sequence[Note], other: Track) -> float:
    """Return the mean distance of stray notes to the nearest notes of a track."""
    starts = np.array([note.start_time for note in other.notes])
    pitches = np.array([note.pitch for note in other.notes])
    return float(
        np.mean(
            [
                (np.abs(starts - note.start_time) + np.abs(pitches - note.pitch) / _OCTAVE).min()
                for note in strays
            ]
        )
    )
