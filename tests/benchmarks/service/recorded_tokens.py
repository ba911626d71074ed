"""The tokens of two clips, as the published checkpoint generates them, in one small file.

`recorded_tokens.npz` holds the full segments of the demo recording (`tests/demo`) and of a pop
band (clip 08 of the development set), generated greedily in float32 on a CPU: 20 segments of 161
tokens on average.
`write_recorded` makes it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mt3_model.notes.generated import GeneratedSegment

_FILE = Path(__file__).with_name("recorded_tokens.npz")


def read_recorded(path: Path = _FILE) -> list[GeneratedSegment]:
    """Read the segments in order."""
    with np.load(path) as content:
        borders = np.cumsum(content["lengths"])[:-1]
        tokens = np.split(content["tokens"].astype(np.int32), borders)
        scores = np.split(content["log_probabilities"].astype(np.float32), borders)
    return [
        GeneratedSegment(tokens=these, log_probabilities=their)
        for these, their in zip(tokens, scores, strict=True)
    ]


def write_recorded(segments: Sequence[GeneratedSegment], path: Path = _FILE) -> None:
    """Write segments as 16-bit numbers."""
    np.savez_compressed(
        path,
        lengths=np.array([len(segment.tokens) for segment in segments], np.int16),
        tokens=np.concatenate([segment.tokens for segment in segments]).astype(np.int16),
        log_probabilities=np.concatenate(
            [segment.log_probabilities for segment in segments]
        ).astype(np.float16),
    )
