"""Measure an hour of dense music in the slots: from samples to tokens, both on the host.

The hour repeats the full segments of dense clips. A first pass compiles what the pool's own warm-up
has not; measured passes follow. The host's share is the difference to the time that the device
alone needs for the same calls (`stages.py`).
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import ModelProvenance, Precision, TranscriptionOptions
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, segment_start_time
from tests.benchmarks.gpu.agreement import NEAR_TIE, compare, summarize
from tests.benchmarks.gpu.environment import memory_peak
from tests.benchmarks.gpu.material import Clip, Expected
from tests.benchmarks.gpu.pools import KernelsOfBenchmark, MeasuredPool, kernel_options, open_pool
from tests.benchmarks.gpu.report import Deadline


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Music:
    """Segments to generate from, with the expected tokens or the length of each."""

    segments: list[Segment]
    expected: tuple[Expected, ...] = ()
    """Expected tokens, repeated over the segments; empty with random weights."""
    lengths: tuple[int, ...] = ()
    """Numbers of tokens, repeated over the segments; empty with the published weights."""


def tile_clips(clips: Sequence[Clip], spec: ModelSpec, seconds: float) -> Music:
    """Repeat the clips' full segments to a length of ``seconds``."""
    full: list[Segment] = []
    expected: list[Expected] = []
    for clip in clips:
        for segment, row in zip(clip.segments(spec), clip.expected, strict=True):
            if segment.frames == spec.segment_frames:
                full.append(segment)
                expected.append(row)
    return Music(segments=_tile(full, spec, seconds), expected=tuple(expected))


def tile_noise(lengths: Sequence[int], spec: ModelSpec, seconds: float) -> Music:
    """Make segments of noise, one for each length, repeated to ``seconds``."""
    random = np.random.default_rng(0)
    noise = [
        Segment(
            index=index,
            samples=0.1 * random.standard_normal(spec.segment_samples, np.float32),
            frames=spec.segment_frames,
            start_time=0.0,
        )
        for index in range(len(lengths))
    ]
    return Music(segments=_tile(noise, spec, seconds), lengths=tuple(lengths))


def measure_throughput(
    spec: ModelSpec,
    parameters: dict[str, Any],
    music: Music,
    shapes: SlotShapes,
    precision: Precision,
    *,
    runs: int,
    deadline: Deadline,
    kernels: KernelsOfBenchmark = "auto",
) -> dict[str, Any]:
    """Run the hour once to compile and ``runs`` times to measure."""
    pool = open_pool(spec, parameters, shapes, precision, music.lengths or None, kernels=kernels)
    began = time.perf_counter()
    pool.warm_up()
    warm_up = time.perf_counter() - began
    deadline.check()
    first, _ = run_hour(pool, music, deadline)
    taken: list[float] = []
    generated: list[GeneratedSegment] = []
    for _ in range(runs):
        pool.reset()
        seconds, generated = run_hour(pool, music, deadline)
        taken.append(seconds)
    audio_seconds = len(music.segments) * spec.segment_seconds
    tokens = sum(len(row.tokens) for row in generated)
    median = statistics.median(taken)
    return {
        "shapes": dataclasses.asdict(shapes),
        "precision": precision,
        "cached_attention": kernel_options(kernels)["cached_attention"],
        "audio_seconds": round(audio_seconds, 3),
        "segments": len(music.segments),
        "tokens": tokens,
        "warm_up_seconds": round(warm_up, 2),
        "first_pass_seconds": round(first, 3),
        "seconds": [round(seconds, 4) for seconds in taken],
        "times_real_time": round(audio_seconds / median, 1),
        "tokens_per_second": round(tokens / median),
        # Of the last pass:
        "encodes": pool.inserts,
        "iterations": {
            f"{rows}x{columns}": n for (rows, columns), n in sorted(pool.iterations.items())
        },
        "host_seconds_in_insert": round(pool.insert_seconds, 4),
        "host_seconds_in_step": round(pool.step_seconds, 4),
        "memory_peak_bytes_so_far": memory_peak(),
        "agreement": _agreement(music, generated, precision),
        "notes_seconds": None if music.lengths else round(_assemble(spec, music, generated), 3),
    }


def split_time(result: dict[str, Any], stages: dict[str, Any]) -> dict[str, float]:
    """Split the median pass into the device's own work and the host's share.

    An iteration's steps count in full, even if no row was live to its end. Moving rows and caches
    to other buckets does not count as the device's, so it is in the host's share.
    """
    shapes = result["shapes"]
    encode = result["encodes"] * (stages["encode_ms"] + stages["insert_ms"]) / 1e3
    step = sum(
        iterations * shapes["iteration_steps"] * stages["step"][shape]["ms"] / 1e3
        for shape, iterations in result["iterations"].items()
    )
    seconds = statistics.median(result["seconds"])
    return {
        "seconds": round(seconds, 4),
        "encode_seconds": round(encode, 4),
        "step_seconds": round(step, 4),
        "host_share": round(max(0.0, 1 - (encode + step) / seconds), 3),
    }


def _tile(segments: Sequence[Segment], spec: ModelSpec, seconds: float) -> list[Segment]:
    count = max(1, round(seconds / spec.segment_seconds))  # 1,758 for an hour
    tiled = itertools.islice(itertools.cycle(segments), count)
    return [
        dataclasses.replace(segment, index=index, start_time=segment_start_time(index, spec))
        for index, segment in enumerate(tiled)
    ]


def run_hour(
    pool: MeasuredPool, music: Music, deadline: Deadline
) -> tuple[float, list[GeneratedSegment]]:
    generated: list[GeneratedSegment] = []
    began = time.perf_counter()
    for _, row in generate(pool, music.segments, "greedy"):
        generated.append(row)
        deadline.check()
    return time.perf_counter() - began, generated


def _agreement(
    music: Music, generated: Sequence[GeneratedSegment], precision: Precision
) -> dict[str, Any] | None:
    if not music.expected:
        return None
    pairs = zip(itertools.cycle(music.expected), generated, strict=False)
    return summarize(compare(e, row.tokens, NEAR_TIE[precision]) for e, row in pairs)


def _assemble(spec: ModelSpec, music: Music, generated: Sequence[GeneratedSegment]) -> float:
    """Return the seconds that one host thread needs to decode the hour's tokens into notes."""
    began = time.perf_counter()
    assembler = RecordingAssembler(spec, TranscriptionOptions(model=spec.name))
    for segment, row in zip(music.segments, generated, strict=True):
        assembler.add_segment(segment, row)
    assembler.finish(
        model=ModelProvenance(
            name=spec.name, checkpoint_sha256="", code_version="", precision="float32"
        ),
        duration_seconds=len(music.segments) * spec.segment_seconds,
    )
    return time.perf_counter() - began
