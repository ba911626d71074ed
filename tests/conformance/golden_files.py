"""Reads the golden files: what the original MT3 computed (see ``golden/README.md`` beside them)."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import soundfile

NAMES = ("band", "dense", "exact_two_segments", "mixed", "odd", "piano", "short")
"""Every golden recording; `short` and `exact_two_segments` have the reference decoding only."""

DECODINGS = {"greedy": "greedy", "reference": "beam1"}
"""Our name of a decoding -> the golden files' name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenRecording:
    """One recording with what the original made of it."""

    name: str
    samples: np.ndarray
    """float32, 16 kHz."""
    decodings: dict[str, Any]

    def decoding(self, ours: str) -> dict[str, Any] | None:
        """The original's answer by our name of the decoding, if it was run."""
        return self.decodings.get(DECODINGS[ours])


def read_golden(shared: pathlib.Path, name: str) -> GoldenRecording:
    """One golden recording; the FLAC is 16 kHz, so that no resampler stands between."""
    document = json.loads((shared / "golden" / f"{name}.json").read_text())
    samples, rate = soundfile.read(shared / "golden" / document["audio"], dtype="float32")
    assert rate == document["sample_rate"] == 16_000
    assert len(samples) == document["samples"]
    return GoldenRecording(name=name, samples=samples, decodings=document["decodings"])


def read_arrays(shared: pathlib.Path) -> dict[str, np.ndarray]:
    """The float32 arrays of `mixed`, level by level."""
    with np.load(shared / "golden" / "mixed_arrays.npz") as arrays:
        return dict(arrays)
