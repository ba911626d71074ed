"""Tracks of a few stray notes -> notes of a neighboring part, or none.

A staff costs a reader a line of rests on every page. A few notes among hundreds are not worth one:
they are seldom an instrument, and nearly always notes that the model gave to a wrong one. A drum
kit is heard several times in each bar, so a share of the notes tells stray drums from a kit.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mt3_model.notes.tracks import Track

MAX_STRAY_SHARE = 0.02
"""A stray track has at most this share of the notes. Of the tracks of the 12 development clips and
of 14 others these rules catch four, with 1 to 4 notes (0.3 to 1.3 %); none was in the music."""
MAX_STRAY_NOTES = 4
"""A stray track of pitched notes has at most this many: more are a line that can be played."""
_OCTAVE = 12


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GatheredTracks:
    """The tracks that get staves."""

    tracks: tuple[Track, ...]
    left_out: tuple[str, ...]
    """The notes that no track could take, such as ``2 of Drums``."""


def gather_strays(tracks: Sequence[Track]) -> GatheredTracks:
    """Give the notes of stray tracks to the nearest track; leave out stray drums.

    Args:
        tracks: the tracks of a recording, none empty.

    Returns:
        The other tracks in the same order. Each stray pitched note is in the track that has a note
        nearest to it, an octave being as far as a second; without another pitched track it is left
        out.
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
        nearest = min(takers, key=lambda i: _distance(stray, kept[i]))
        notes = sorted((*kept[nearest].notes, *stray.notes), key=lambda n: n.end_time)
        kept[nearest] = dataclasses.replace(kept[nearest], notes=tuple(notes))
    return GatheredTracks(tracks=tuple(kept), left_out=tuple(left_out))


def _is_stray(track: Track, count: int) -> bool:
    few = len(track.notes) <= MAX_STRAY_SHARE * count
    return few and (track.is_drum or len(track.notes) <= MAX_STRAY_NOTES)


def _distance(stray: Track, other: Track) -> float:
    """Return the mean distance of stray notes to the nearest notes of a track."""
    starts = np.array([note.start_time for note in other.notes])
    pitches = np.array([note.pitch for note in other.notes])
    return float(
        np.mean(
            [
                (np.abs(starts - note.start_time) + np.abs(pitches - note.pitch) / _OCTAVE).min()
                for note in stray.notes
            ]
        )
    )
