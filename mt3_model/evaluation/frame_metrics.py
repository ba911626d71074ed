"""Compare two transcriptions of one clip frame by frame.

Each transcription becomes a piano roll ``[P, T]`` of its pitched notes with 62.5 frames per second,
and the score compares all cells. Notes shorter than 50 ms count as 50 ms. MT3 drops reference cells
with a velocity of 30 or less, "consistent with Cerberus"; here the threshold is an argument, 0 by
default. Source: magenta/mt3 fa04532, metrics_utils.py ``get_prettymidi_pianoroll``,
``frame_metrics``; metrics.py (``frame_fps=62.5``, ``frame_velocity_threshold=30``). The piano roll
is pretty_midi's, as in the original.
"""

import numpy as np
import pretty_midi
from jaxtyping import Float64

from mt3_model.evaluation.note_metrics import NoteArray, Score

FRAMES_PER_SECOND = 62.5
MIN_NOTE_SECONDS = 0.05
PITCHES = 128


def score_frames(reference: NoteArray, estimate: NoteArray, *, threshold: int = 0) -> Score:
    """Compute precision, recall and F1 over the cells of two piano rolls.

    Args:
        reference: The pitched notes of the reference.
        estimate: The pitched notes of the estimate.
        threshold: Ignore reference cells of this velocity or less.
    """
    rolls = _piano_roll(reference), _piano_roll(estimate)
    frames = max(roll.shape[1] for roll in rolls)
    reference_roll, estimate_roll = (
        np.pad(roll, ((0, 0), (0, frames - roll.shape[1]))) for roll in rolls
    )
    reference_cells = reference_roll > threshold
    estimate_cells = estimate_roll > 0
    return Score.from_counts(
        matched=int((reference_cells & estimate_cells).sum()),
        reference=int(reference_cells.sum()),
        estimate=int(estimate_cells.sum()),
    )


def _piano_roll(notes: NoteArray) -> Float64[np.ndarray, "P T"]:
    """Return the sum of velocities per pitch and frame, ``[P, T]``."""
    if not len(notes):
        return np.zeros((PITCHES, 1))
    instrument = pretty_midi.Instrument(program=0)
    instrument.notes = [
        pretty_midi.Note(int(velocity), int(pitch), start, max(end, start + MIN_NOTE_SECONDS))
        for start, end, pitch, velocity in zip(
            notes.start_times.tolist(),
            notes.end_times.tolist(),
            notes.pitches.tolist(),
            notes.velocities.tolist(),
            strict=True,
        )
    ]
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(instrument)
    # pretty_midi annotates an int but accepts any number, and MT3 passes a float.
    roll = midi.get_piano_roll(fs=FRAMES_PER_SECOND)  # pyright: ignore[reportArgumentType]
    return np.asarray(roll, np.float64)
