"""MIDI note numbers to frequencies."""

import numpy as np
from jaxtyping import Float64

_A4_HZ, _A4_PITCH, _SEMITONES = 440.0, 69, 12


def pitches_to_hz(pitches: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Return ``440 * 2 ** ((pitch - 69) / 12)``: equal temperament at concert pitch."""
    return np.asarray(_A4_HZ * 2.0 ** ((pitches - _A4_PITCH) / _SEMITONES), np.float64)
