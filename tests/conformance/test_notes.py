"""The original's tokens are decoded to the original's notes.

The golden files hold the original's tokens and the notes it made of them. No float arithmetic
differs here (both add float64 seconds), so times agree to the microsecond of the files.
"""

import json
import pathlib

import pytest

from mt3_model import spec
from mt3_model.codec.vocabulary import build_codec
from mt3_model.notes.decoding import SegmentTokens, decode_notes

pytestmark = pytest.mark.shared

NAMES = ("band", "dense", "exact_two_segments", "mixed", "odd", "piano", "short")


@pytest.mark.parametrize("name", NAMES)
def test_golden_tokens_give_exactly_the_golden_notes(
    name: str, shared_folder: pathlib.Path
) -> None:
    golden = json.loads((shared_folder / "golden" / f"{name}.json").read_text())
    for decoding, expected in golden["decodings"].items():
        segments = [
            SegmentTokens(start_time=segment["start_time"], tokens=segment["tokens"])
            for segment in expected["segments"]
        ]
        decoded = decode_notes(segments, build_codec(spec.MT3.vocabulary), uses_ties=True)

        assert decoded.invalid_events == expected["invalid_events"], decoding
        assert len(decoded.notes.notes) == len(expected["notes"]), decoding
        for ours, theirs in zip(decoded.notes.notes, expected["notes"], strict=True):
            assert ours.start_time == pytest.approx(theirs["start"], abs=1e-6, rel=0)
            assert ours.end_time == pytest.approx(theirs["end"], abs=1e-6, rel=0)
            assert {
                "pitch": ours.pitch,
                "velocity": ours.velocity,
                "program": ours.program,
                "is_drum": ours.is_drum,
                "instrument": ours.instrument,
            } == {
                key: theirs[key]
                for key in ("pitch", "velocity", "program", "is_drum", "instrument")
            }
