"""Measure each stage of one recording alone.

    decode     a file's bytes -> samples, in a separate process as in the service
    mel        samples -> log-mel of an encode batch; part of encode
    encode     samples -> keys and values in slots, in whole encode batches
    generate   tokens, with every slot taken, until the first slot's segment has ended
    notes      tokens -> notes
    export     notes -> the bytes of a MIDI file

Device stages are measured per segment and per token, and multiplied by the recording's counts, so
that a long recording is not transcribed twice. They use the pool of slots that served the callers.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mt3_model.audio.isolation import open_recording
from mt3_model.export.midi import to_midi
from mt3_model.generation.backend import Backend
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.generated import SlotEntry
from mt3_model.notes.transcription import ModelProvenance, Transcription, TranscriptionOptions
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, split_segments
from service.benchmark.benchmark_report import Stage, StageName
from service.benchmark.observing import SeenSegment

_TRIES = 5
_ENOUGH_SECONDS = 2.0
"""A stage is not repeated once it has taken this long in total."""


def measure_decode(recording: Path, spec: ModelSpec) -> Stage:
    """Measure reading the whole recording at the model's sample rate."""

    def read() -> None:
        with open_recording(recording, sample_rate=spec.spectrogram.sample_rate) as source:
            for _ in source.blocks():
                pass

    return Stage(name="decode", seconds=_median_seconds(read), units=1, unit="recording")


def measure_notes_and_export(
    seen: Sequence[SeenSegment], spec: ModelSpec, model: ModelProvenance
) -> list[Stage]:
    """Measure decoding a recording's tokens into notes, and writing these as MIDI.

    Args:
        seen: all segments of the recording, in any order.
        spec: the model's spec.
        model: provenance for the transcription.
    """
    ordered = sorted(seen, key=lambda each: each.segment.index)

    def assemble() -> Transcription:
        assembler = RecordingAssembler(spec, TranscriptionOptions(model=spec.name))
        for each in ordered:
            assembler.add_segment(each.segment, each.generated)
        return assembler.finish(model=model, duration_seconds=0.0)

    notes = assemble().notes
    tokens = sum(len(each.generated.tokens) for each in ordered)

    def stage(name: StageName, work: Callable[[], object], units: int, unit: str) -> Stage:
        return Stage(name=name, seconds=_median_seconds(work), units=max(units, 1), unit=unit)

    return [
        stage("notes", assemble, tokens, "token"),
        stage("export", lambda: to_midi(notes), len(notes.notes), "note"),
    ]


def read_segments(recording: Path, spec: ModelSpec, most: int) -> list[Segment]:
    """Read the first ``most`` segments of a recording."""
    with open_recording(recording, sample_rate=spec.spectrogram.sample_rate) as source:
        return list(itertools.islice(split_segments(source.blocks(), spec), most))


def measure_mel(segments: Sequence[Segment], spec: ModelSpec, batch: int, units: int) -> Stage:
    """Measure the log-mel of a batch alone, for ``units`` segments."""
    import jax  # noqa: PLC0415 (not for the fake backend)

    from mt3_model.spectrogram.logmel import compute_logmel  # noqa: PLC0415

    cycle = list(itertools.islice(itertools.cycle(segments), batch))
    samples = np.stack([segment.samples for segment in cycle])
    frames = np.array([segment.frames for segment in cycle], np.int32)
    compute = jax.jit(functools.partial(compute_logmel, spec=spec.spectrogram))
    with jax.default_matmul_precision("highest"):
        arguments = jax.device_put((samples, frames))

        def once() -> None:
            compute(*arguments).block_until_ready()

        once()  # compiles
        seconds = _median_seconds(once)
    return Stage(name="mel", seconds=units * seconds / batch, units=units, unit="segment")


def measure_device(
    backend: Backend, segments: Sequence[Segment], *, iteration_steps: int, units: tuple[int, int]
) -> tuple[list[Stage], int]:
    """Measure encode and generate with every slot taken, on the calling thread.

    Args:
        backend: a warm backend with all slots free; they are free again afterwards.
        segments: segments of a recording, repeated until every slot has one.
        iteration_steps: tokens that a live slot generates in one device iteration.
        units: number of segments and tokens in the recording.

    Returns:
        The stages encode and generate, and the number of tokens that each slot generated.
    """
    assert segments, "a recording has a segment"
    entries = _entries(backend.slots, segments)
    size = min(backend.encode_batch, backend.slots)
    encodes: list[float] = []
    while batch := list(itertools.islice(entries, size)):
        _wait_for_device()
        began = time.perf_counter()
        backend.insert(batch)
        _wait_for_device()
        if len(batch) == size:  # a partial batch costs as much as a full one
            encodes.append((time.perf_counter() - began) / size)
    iterations = 1
    began = time.perf_counter()
    while not backend.step():
        iterations += 1
    _wait_for_device()  # it may have launched an iteration that no call has waited for
    tokens = iterations * iteration_steps
    per_token = (time.perf_counter() - began) / tokens / backend.slots
    backend.release(range(backend.slots))
    stages = [
        Stage(
            name="encode",
            seconds=units[0] * statistics.median(encodes),
            units=units[0],
            unit="segment",
        ),
        Stage(name="generate", seconds=units[1] * per_token, units=units[1], unit="token"),
    ]
    return stages, tokens


def _entries(slots: int, segments: Sequence[Segment]) -> Iterator[SlotEntry]:
    return (
        SlotEntry(slot=slot, segment=segment, decoding="greedy")
        for slot, segment in zip(range(slots), itertools.cycle(segments), strict=False)
    )


def _wait_for_device() -> None:
    """Wait until the device has finished all its work."""
    import jax  # noqa: PLC0415 (not for the fake backend)

    jax.block_until_ready(jax.live_arrays())


def _median_seconds(work: Callable[[], object]) -> float:
    """Return the median time of a few calls, fewer for slow work."""
    taken: list[float] = []
    while len(taken) < _TRIES and sum(taken) < _ENOUGH_SECONDS:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
