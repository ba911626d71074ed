"""Generate every clip on this device, and compare tokens and notes with the CPU's."""

import dataclasses
from typing import Any

import numpy as np

from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from tests.benchmarks.gpu.agreement import NEAR_TIE, compare, count_notes, summarize
from tests.benchmarks.gpu.material import Clip
from tests.benchmarks.gpu.pools import KernelsOfBenchmark, open_pool
from tests.benchmarks.gpu.report import Deadline


def check_correctness(
    spec: ModelSpec,
    parameters: dict[str, Any],
    clips: list[Clip],
    *,
    shapes: SlotShapes,
    precision: Precision,
    deadline: Deadline,
    kernels: KernelsOfBenchmark = "auto",
) -> dict[str, Any]:
    """Count equal segments, near-ties and wrong ones.

    All clips run as one stream, so that slots are refilled while others generate.
    """
    segments: list[Segment] = []
    for clip in clips:
        segments += clip.segments(spec)
    stream = [dataclasses.replace(s, index=i) for i, s in enumerate(segments)]
    pool = open_pool(spec, parameters, shapes, precision, kernels=kernels)
    pool.warm_up()  # compiles in parallel, not one after the other at first use
    deadline.check()
    tokens: list[np.ndarray] = []
    for _, generated in generate(pool, stream, "greedy"):
        tokens.append(generated.tokens)
        deadline.check()

    bound = NEAR_TIE[precision]
    expected = [row for clip in clips for row in clip.expected]
    comparisons = [compare(e, t, bound) for e, t in zip(expected, tokens, strict=True)]
    notes: dict[str, dict[str, int]] = {}
    done = 0
    for clip in clips:
        its_own = tokens[done : done + len(clip.expected)]
        done += len(clip.expected)
        notes[clip.name] = count_notes(clip, its_own, spec)
    return {
        "shapes": dataclasses.asdict(shapes),
        "near_tie_bound": bound,
        **summarize(comparisons),
        "tokens": sum(len(row) for row in tokens),
        "notes": {
            key: sum(counts[key] for counts in notes.values())
            for key in ("of_the_cpu", "of_the_device", "in_both")
        },
        "notes_of_clips": notes,
    }
