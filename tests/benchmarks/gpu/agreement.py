"""Compare the device's tokens with the CPU's: equal, different at a near-tie, or wrong.

Two correct computations differ in the last bits, and where two tokens are almost equally probable
that decides. So a segment counts as a near-tie if, at the first difference, the device's token was
a rival whose logit on the CPU is within ``bound`` of the chosen one. Tokens after the first
difference follow from another prefix and are not compared.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from mt3_model.spec import ModelSpec
from tests.benchmarks.gpu.material import Clip, Expected

Verdict = Literal["equal", "near_tie", "different"]

NEAR_TIE = {"float32": 0.01, "bfloat16": 0.1}
"""Bounds on the gap of logits. float32: the rule of the golden files, made by the original, for
another order of sums. bfloat16: four times the widest gap at a flip on a CPU, 0.023 in 23 flips of
92 segments (JAX 0.10.2, the clips of `pack.py`; with bfloat16 caches too, 0.009 in 24 segments)."""
LISTED = 10
"""Segments of one kind that a summary lists; the rest are counted."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Result of comparing one segment."""

    verdict: Verdict
    position: int | None = None
    """The first token that differs."""
    gap: float | None = None
    """Gap between the CPU's logits of both tokens; None if the device's is not a recorded rival."""


def compare(expected: Expected, tokens: Sequence[int] | np.ndarray, bound: float) -> Comparison:
    """Compare one segment's tokens.

    Args:
        expected: the CPU's tokens and rivals.
        tokens: the device's tokens, up to and including the end token.
        bound: gaps of logits below it are near-ties.
    """
    theirs, ours = list(expected.tokens), list(tokens)
    if theirs == ours:
        return Comparison(verdict="equal")
    pairs = enumerate(zip(theirs, ours, strict=False))
    position = next((at for at, (a, b) in pairs if a != b), min(len(theirs), len(ours)))
    if position >= min(len(theirs), len(ours)):  # one goes on where the other stopped
        return Comparison(verdict="different", position=position)
    rank = np.flatnonzero(expected.rivals[position] == ours[position])
    if not len(rank):
        return Comparison(verdict="different", position=position)
    gap = float(expected.gaps[position, rank[0]])
    return Comparison(
        verdict="near_tie" if gap < bound else "different", position=position, gap=gap
    )


def summarize(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """Count each verdict; add the widest gap of a flip and the first wrong segments."""
    listed = list(comparisons)
    verdicts = collections.Counter(comparison.verdict for comparison in listed)
    gaps = [comparison.gap for comparison in listed if comparison.gap is not None]
    return {
        "segments": len(listed),
        "equal": verdicts["equal"],
        "near_tie": verdicts["near_tie"],
        "different": verdicts["different"],
        "widest_gap": round(max(gaps), 4) if gaps else None,
        "gaps": sorted(round(gap, 4) for gap in gaps)[-LISTED:],
        "wrong": [
            {"segment": index, "position": c.position, "gap": c.gap}
            for index, c in enumerate(listed)
            if c.verdict == "different"
        ][:LISTED],
    }


def count_notes(clip: Clip, tokens: Sequence[np.ndarray], spec: ModelSpec) -> dict[str, int]:
    """Count the clip's notes from the CPU's tokens, from the device's, and in both."""
    ours = _notes(clip, tokens, spec)
    theirs = _notes(clip, [expected.tokens for expected in clip.expected], spec)
    return {
        "of_the_cpu": theirs.total(),
        "of_the_device": ours.total(),
        "in_both": (ours & theirs).total(),
    }


def _notes(
    clip: Clip, tokens: Sequence[np.ndarray], spec: ModelSpec
) -> collections.Counter[tuple[Any, ...]]:
    assembler = RecordingAssembler(spec, TranscriptionOptions(model=spec.name))
    for segment, row in zip(clip.segments(spec), tokens, strict=True):
        generated = GeneratedSegment(
            tokens=np.asarray(row, np.int32), log_probabilities=np.zeros(len(row), np.float32)
        )
        assembler.add_segment(segment, generated)
    finished = assembler.finish(
        model=ModelProvenance(
            name=spec.name, checkpoint_sha256="", code_version="", precision="float32"
        ),
        duration_seconds=len(clip.samples) / spec.spectrogram.sample_rate,
    )
    return collections.Counter(
        (note.pitch, note.start_time, note.end_time, note.program, note.is_drum)
        for note in finished.notes.notes
    )
