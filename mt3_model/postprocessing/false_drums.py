"""Percussion in a recording without drums -> left out: the attack of a pitched note is no drum.

The attack of a plucked or struck note is a short noise, and the model writes some of them as drums
too. Such drums are few, begin with a pitched note each, and their probabilities are low. They are
all left out or all kept: a recording has a drummer or has none.
"""

from collections.abc import Sequence

import numpy as np

from mt3_model.notes.note import Note

MAX_ONSET_DISTANCE_SECONDS = 0.03
"""Maximum distance of onsets that belong to one note, as in `duplicates.py`."""
MIN_EXPLAINED_SHARE = 0.95
"""Share of the drums that begin with a pitched note. A drummer also plays between them."""
MAX_SHARE = 0.2
"""Share of all notes. On the clips of the README false drums are at most .18, true ones at least
.25."""
MAX_CONFIDENCE = 0.9
"""Median probability of the drums' tokens. On the same clips it is at most .87 for false drums, and
more than .9 for half of the true ones; the share tells them apart, and this limit only protects
strokes that are few but clear."""


def leave_out_false_drums(drums: Sequence[Note], pitched: Sequence[Note]) -> tuple[Note, ...]:
    """Return no drums if all signs indicate that the recording has none, else all of them.

    Args:
        drums: the drums of the whole recording, with the probabilities of their tokens as
            confidence; without confidence they stay.
        pitched: its pitched notes.
    """
    confidences = [note.confidence for note in drums if note.confidence is not None]
    if not confidences or not pitched:
        return tuple(drums)
    is_false = (
        len(drums) <= MAX_SHARE * (len(drums) + len(pitched))
        and float(np.median(confidences)) <= MAX_CONFIDENCE
        and _explained_share(drums, pitched) >= MIN_EXPLAINED_SHARE
    )
    return () if is_false else tuple(drums)


def _explained_share(drums: Sequence[Note], pitched: Sequence[Note]) -> float:
    """Return the share of the drums that begin with a pitched note."""
    starts = np.array([note.start_time for note in drums])
    onsets = np.sort([-np.inf, *(note.start_time for note in pitched), np.inf])
    after = np.searchsorted(onsets, starts)
    distances = np.minimum(onsets[after] - starts, starts - onsets[after - 1])
    return float(np.mean(distances <= MAX_ONSET_DISTANCE_SECONDS))
