"""Velocity <-> velocity bin.

Bin 0 always means note-off; a sounding velocity, 1-127, has a bin of at least 1. MT3 has one bin
(every note is decoded with velocity 127), ISMIR 2021 has 127 (one per velocity).
Source: magenta/mt3 fa04532, vocabularies.py ``velocity_to_bin``, ``bin_to_velocity``.
"""

import math

MAX_VELOCITY = 127
"""The highest MIDI velocity. Source: note_seq.MAX_MIDI_VELOCITY."""


def velocity_to_bin(velocity: int, velocity_bins: int) -> int:
    """Return the bin of a velocity, ``ceil(bins * velocity / 127)``; 0 stays 0.

    Args:
        velocity: The velocity, 0-127.
        velocity_bins: The number of bins above zero.
    """
    return math.ceil(velocity_bins * velocity / MAX_VELOCITY)


def bin_to_velocity(velocity_bin: int, velocity_bins: int) -> int:
    """Return the velocity of a bin, ``127 * bin / bins`` truncated to an integer; 0 stays 0.

    Args:
        velocity_bin: The bin, 0 .. ``velocity_bins``.
        velocity_bins: The number of bins above zero.
    """
    return int(MAX_VELOCITY * velocity_bin / velocity_bins)
