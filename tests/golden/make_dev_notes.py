"""Write the notes that the published model writes for the development clips to dev_notes.npz.

Usage: python -m tests.golden.make_dev_notes CHECKPOINT CLIPS
"""

import pathlib
import sys
from collections.abc import Iterable

import numpy as np

from mt3_model.notes.note import Note
from mt3_model.transcribe import load_transcriber

COLUMNS = {
    "onset": np.float32, "offset": np.float32, "pitch": np.uint8, "velocity": np.uint8,
    "program": np.uint8, "is_drum": np.bool_,
}  # fmt: skip


def to_columns(notes: Iterable[Note]) -> dict[str, np.ndarray]:
    """Return the notes as one array per column; seconds rounded to a millisecond."""
    rows = [
        (round(n.start_time, 3), round(n.end_time, 3), n.pitch, n.velocity, n.program, n.is_drum)
        for n in notes
    ]
    return {
        name: np.array(values, dtype)
        for (name, dtype), values in zip(COLUMNS.items(), zip(*rows, strict=True), strict=True)
    }


def main() -> None:
    """Transcribe every clip with the default options."""
    checkpoint, clips = map(pathlib.Path, sys.argv[1:])
    transcriber = load_transcriber("mt3", checkpoint)
    arrays: dict[str, np.ndarray] = {}
    for clip in sorted(clips.glob("*.ogg")):
        columns = to_columns(transcriber.transcribe(clip).notes.notes)
        arrays |= {f"{clip.stem}/{name}": values for name, values in columns.items()}
        print(clip.stem, len(columns["onset"]))
    np.savez_compressed(pathlib.Path(__file__).with_name("dev_notes.npz"), **arrays)


if __name__ == "__main__":
    main()
