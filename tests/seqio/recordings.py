"""Small synthetic recordings with their notes, and a SeqIO source of them."""

import numpy as np
import seqio
import tensorflow as tf

from mt3_model.export.note_sequence import to_note_sequence_proto
from mt3_model.notes.note import Note, NoteSequence

SAMPLE_RATE = 16_000
SECONDS = 5.0


def piece() -> NoteSequence:
    """Notes of three programs and drums, tied over borders, on and off the 10 ms grid."""
    chance = np.random.default_rng(3)
    notes = []
    for _ in range(40):
        start = float(chance.uniform(0, SECONDS - 0.2))
        is_drum = bool(chance.random() < 0.3)
        notes.append(
            Note(
                pitch=int(chance.integers(40, 60)),
                start_time=start,
                end_time=start + (0.01 if is_drum else float(chance.uniform(0.05, 2.0))),
                velocity=int(chance.integers(1, 128)),
                program=0 if is_drum else int(chance.choice((0, 33, 40))),
                is_drum=is_drum,
            )
        )
    return NoteSequence(notes=tuple(notes), total_time=max(note.end_time for note in notes))


def samples(seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return chance.normal(0, 0.1, int(SAMPLE_RATE * SECONDS)).astype(np.float32)


def recordings(notes: NoteSequence, count: int = 1) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(
        {
            "audio": np.stack([samples(seed) for seed in range(count)]),
            "sample_rate": np.full(count, SAMPLE_RATE),
            "sequence": [to_note_sequence_proto(notes)] * count,
            "id": [f"recording-{number}".encode() for number in range(count)],
        }
    )


def source(notes: NoteSequence, count: int = 1) -> seqio.DataSource:
    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        return recordings(notes, count)

    return seqio.FunctionDataSource(dataset_fn=dataset, splits=["eval"])
