"""Seconds to positions in beats, and back.

This module is separate from `MusicalTime`, which the command line needs even without NumPy.
"""

import numpy as np

from mt3_model.notes.musical_time import MusicalTime


def beats_at(time: MusicalTime, seconds: np.ndarray) -> np.ndarray:
    """Return the position in beats ``[N]`` of times in seconds ``[N]``.

    Linear between beats; beyond the ends, the first and last beat's length continue.
    """
    beats = np.asarray(time.beat_times)
    moments = np.asarray(seconds, np.float64)
    index = np.clip(np.searchsorted(beats, moments, side="right") - 1, 0, len(beats) - 2)
    return index + (moments - beats[index]) / (beats[index + 1] - beats[index])


def times_at(time: MusicalTime, positions: np.ndarray) -> np.ndarray:
    """Return the times in seconds ``[N]`` of positions in beats ``[N]``; inverse of `beats_at`."""
    beats = np.asarray(time.beat_times)
    places = np.asarray(positions, np.float64)
    index = np.clip(np.floor(places).astype(int), 0, len(beats) - 2)
    return beats[index] + (places - index) * (beats[index + 1] - beats[index])
