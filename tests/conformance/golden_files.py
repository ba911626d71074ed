"""Read the golden files with the results of the original MT3 (see their ``golden/README.md``)."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import soundfile

NAMES = ("band", "dense", "exact_two_segments", "mixed", "odd", "piano", "short")
"""Every golden recording; `short` and `exact_two_segments` have the reference decoding only."""

DECODINGS = {"greedy": "greedy", "reference": "beam1"}
"""Our name of each decoding -> the name in the golden files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenRecording:
    """A recording and the original's results for it."""

    name: str
    samples: np.ndarray
    """float32, 16 kHz."""
    decodings: dict[str, Any]

    def decoding(self, ours: str) -> dict[str, Any] | None:
        """Return the original's result for a decoding, by our name of it, if there is one."""
        return self.decodings.get(DECODINGS[ours])


def read_golden(shared: pathlib.Path, name: str) -> GoldenRecording:
    """Read a golden recording. The FLAC is 16 kHz, so that no resampler is involved."""
    document = json.loads((shared / "golden" / f"{name}.json").read_text())
    samples, rate = soundfile.read(shared / "golden" / document["audio"], dtype="float32")
    assert rate == document["sample_rate"] == 16_000
    assert len(samples) == document["samples"]
    return GoldenRecording(name=name, samples=samples, decodings=document["decodings"])


def read_arrays(shared: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the float32 arrays of the recording `mixed`."""
    with np.load(shared / "golden" / "mixed_arrays.npz") as arrays:
        return dict(arrays)
