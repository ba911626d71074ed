"""Notes -> numbers for each beat that are high, or low, where a bar begins.

At downbeats the bass and the harmony change, long notes begin, few notes are held over, and the
kick drum and the crash cymbal sound; a fill on the toms leads to them. Snares fall between them.
"""

import numpy as np

from mt3_model.rhythm.onset_strength import CYMBALS, KICKS, SNARES, TOMS, NoteArrays

_ON_BEAT = 0.2
"""Maximum distance, in beats, between a beat and the onset of a note on it."""
_EARLY = 0.1
"""Beats by which a note may begin before the beat that it is counted in."""
_PITCH_CLASSES = 12
_BASS = 55
"""Pitches below G3 are bass."""
_LONGEST = 4.0
"""Beats; longer notes count as this long."""
_LONGEST_GAP = 2.0
"""Beats; longer gaps between onsets count as this long."""
_MOST_ONSETS = 2
"""More onsets at one place of the grid of `rhythm_grid` count as this many."""


def beat_series(notes: NoteArrays, beats: np.ndarray) -> dict[str, np.ndarray]:
    """Describe each beat.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``.

    Returns:
        One array ``[B]`` per name, with mean 1 or all zeros.
    """
    positions = positions_in_beats(beats, notes.onsets)
    ends = positions_in_beats(beats, notes.offsets)
    nearest = np.round(positions).astype(int)
    on_beat = (np.abs(positions - nearest) < _ON_BEAT) & (nearest >= 0) & (nearest < len(beats))
    lengths = np.minimum(ends - positions, _LONGEST)
    pitched = ~notes.is_drum

    def total(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(nearest[on_beat & chosen], minlength=len(beats)).astype(np.float64)

    def longest(chosen: np.ndarray) -> np.ndarray:
        use = on_beat & chosen
        values = np.zeros(len(beats))
        np.maximum.at(values, nearest[use], lengths[use])
        return values

    begun = total(pitched)
    chroma = beat_chroma(notes, beats)
    series = {
        "onsets": np.sqrt(begun),
        "length": longest(pitched),
        "fresh": begun / (begun + _held(positions[pitched], ends[pitched], len(beats)) + 0.5),
        "gap": np.where(begun > 0, _gaps(positions[pitched], len(beats)), 0.0),
        "bass": longest(pitched & (notes.pitches < _BASS)),
        "bass_change": _bass_change(notes, positions, len(beats)),
        "harmony": _change(chroma, 1),
        "harmony_wide": _change(chroma, 2),
        "kick": np.minimum(total(notes.are_drums(KICKS)), 1),
        "snare": np.minimum(total(notes.are_drums(SNARES)), 1),
        "crash": np.minimum(total(notes.are_drums(CYMBALS)), 1),
        "fill": _in_beat_before(positions[notes.are_drums(TOMS)], len(beats)),
    }
    return {name: values / (values.mean() or 1.0) for name, values in series.items()}


def positions_in_beats(beats: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return times in beats, linear between and beyond the beats."""
    index = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    return index + (seconds - beats[index]) / (beats[index + 1] - beats[index])


def beat_chroma(notes: NoteArrays, beats: np.ndarray) -> np.ndarray:
    """Return how long each pitch class sounds in each beat, ``[B, 12]``, in beats."""
    pitched = ~notes.is_drum
    begins = positions_in_beats(beats, notes.onsets[pitched]) + _EARLY
    ends = positions_in_beats(beats, notes.offsets[pitched])
    ends = np.minimum(ends, begins + _LONGEST)
    classes = notes.pitches[pitched] % _PITCH_CLASSES
    chroma = np.zeros((len(beats), _PITCH_CLASSES))
    first = np.floor(begins).astype(int)
    for later in range(int(_LONGEST) + 1):
        beat = first + later
        inside = np.minimum(ends, beat + 1) - np.maximum(begins, beat)
        use = (inside > 0) & (beat >= 0) & (beat < len(beats))
        np.add.at(chroma, (beat[use], classes[use]), inside[use])
    return chroma


def rhythm_grid(notes: NoteArrays, beats: np.ndarray, steps: int) -> np.ndarray:
    """Count the onsets of high notes, bass, kicks, snares and other drums at each step.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``.
        steps: steps per beat.

    Returns:
        One row ``[5 * steps]`` per beat.
    """
    place = np.round(positions_in_beats(beats, notes.onsets) * steps).astype(int)
    inside = (place >= 0) & (place < len(beats) * steps)
    kick, snare = notes.are_drums(KICKS), notes.are_drums(SNARES)
    groups = (
        ~notes.is_drum & (notes.pitches >= _BASS),
        ~notes.is_drum & (notes.pitches < _BASS),
        kick,
        snare,
        notes.is_drum & ~kick & ~snare,
    )
    counts = [np.bincount(place[inside & g], minlength=len(beats) * steps) for g in groups]
    rows = [np.minimum(count, _MOST_ONSETS).reshape(len(beats), steps) for count in counts]
    return np.concatenate(rows, axis=1).astype(np.float64)


def _held(starts: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """Return how many notes begin before each beat and end after it."""
    first = np.clip(np.ceil(starts + _ON_BEAT).astype(int), 0, count)
    last = np.clip(np.floor(ends - _ON_BEAT).astype(int) + 1, 0, count)
    over = last > first
    changes = np.zeros(count + 1)
    np.add.at(changes, first[over], 1)
    np.add.at(changes, last[over], -1)
    return np.cumsum(changes)[:count]


def _gaps(starts: np.ndarray, count: int) -> np.ndarray:
    """Return the beats from each beat to the next onset after it."""
    ordered = np.append(np.sort(starts), np.inf)
    beats = np.arange(count)
    following = ordered[np.searchsorted(ordered[:-1], beats + _ON_BEAT)]
    return np.minimum(following - beats, _LONGEST_GAP)


def _in_beat_before(starts: np.ndarray, count: int) -> np.ndarray:
    """Return how many notes begin in the beat before each beat."""
    beat = np.floor(starts + _EARLY).astype(int) + 1
    return np.bincount(beat[(beat >= 0) & (beat < count)], minlength=count).astype(np.float64)


def _change(chroma: np.ndarray, width: int) -> np.ndarray:
    """Return 1 minus the cosine between the chroma before and after each beat."""
    padded = np.concatenate(
        (np.zeros((width, _PITCH_CLASSES)), chroma, np.zeros((width, _PITCH_CLASSES)))
    )
    count = len(chroma)
    before = np.sum([padded[i : i + count] for i in range(width)], axis=0)
    after = np.sum([padded[width + i : width + i + count] for i in range(width)], axis=0)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.where(norms > 0, 1 - (before * after).sum(axis=1) / np.maximum(norms, 1e-9), 0.0)


def _bass_change(notes: NoteArrays, positions: np.ndarray, count: int) -> np.ndarray:
    """Return 1 for each beat whose lowest note has another pitch class than the one before."""
    use = ~notes.is_drum & (notes.pitches < _BASS + 5)
    beat = np.round(positions[use]).astype(int)
    ok = (beat >= 0) & (beat < count)
    lowest = np.full(count, 999)
    np.minimum.at(lowest, beat[ok], notes.pitches[use][ok])
    changed = np.zeros(count)
    have = np.flatnonzero(lowest < 999)  # noqa: PLR2004
    if len(have) > 1:
        changed[have[1:]] = np.diff(lowest[have]) % _PITCH_CLASSES != 0
    return changed
