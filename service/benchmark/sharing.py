"""How much of the machine's measured limit was used, by callers and by stages."""

import dataclasses

from mt3_model.cpu.cores import usable_cores
from mt3_model.generation import roofline
from mt3_model.generation.slots import SlotPool
from mt3_model.hardware import uses_kernels
from mt3_model.notes.transcription import Precision
from service.benchmark.callers import CallersResult
from service.benchmark.report import GemmFigure, LimitFigures, Stage


class LimitedDevice:
    """A pool of slots and the measured limits of its devices."""

    def __init__(self, pool: SlotPool, limits: roofline.Limits) -> None:
        self._pool = pool
        self._limits = limits
        self._widths = roofline.widths_of(pool.precision)

    def share_callers(self, result: CallersResult) -> CallersResult:
        """Adds the limit's share: all encoding and then all generating, with every slot taken."""
        encode, _ = self._least(self._encode(result.segments), "encode")
        work = self._generate(result.segments, result.tokens)
        generate, _ = self._least(work, "generate")
        return dataclasses.replace(result, limit_share=(encode + generate) / result.wall_seconds)

    def share_stage(self, stage: Stage, tokens_each: int) -> Stage:
        """Adds the limit to a stage of the device; leaves the others as they are.

        Args:
            stage: Measured by `stages.py`.
            tokens_each: Tokens that each slot generated in its measurement.
        """
        if stage.name == "encode":
            least, bound = self._least(self._encode(stage.units), "encode")
        elif stage.name == "generate":
            # As measured: so many tokens in every slot, so that the columns are those seen there.
            work = self._generate(self._pool.slots, self._pool.slots * tokens_each)
            least, bound = self._least(work, "generate")
            least *= stage.units / (self._pool.slots * tokens_each)
        else:
            return stage
        return dataclasses.replace(stage, least_seconds=least, bound=bound)

    def figures(self) -> LimitFigures:
        """The limits as they are reported."""
        rates = {"encode": self._limits.encode, "generate": self._limits.generate}
        return LimitFigures(
            gemm=tuple(
                GemmFigure(
                    stage="encode" if name == "encode" else "generate",
                    precision=rate.precision,
                    rows=rate.rows,
                    inner=rate.inner,
                    columns=rate.columns,
                    flops_per_second=rate.flops_per_second,
                )
                for name, by_precision in rates.items()
                for rate in by_precision.values()
            ),
            read_bytes_per_second=self._limits.bytes_per_second,
        )

    def _encode(self, segments: int) -> roofline.Work:
        batch = self._pool.encode_batch // self._pool.devices
        return roofline.encode_work(
            self._pool.spec, segments=segments, batch=batch, widths=self._widths
        )

    def _generate(self, segments: int, tokens: int) -> roofline.Work:
        rows = self._pool.slots // self._pool.devices
        return roofline.generate_work(
            self._pool.spec, segments=segments, tokens=tokens, rows=rows, widths=self._widths
        )

    def _least(self, work: roofline.Work, shape: str) -> tuple[float, roofline.Bound]:
        """Seconds of all devices together, and which rate they come from."""
        rates = self._limits.encode if shape == "encode" else self._limits.generate
        rate = rates[self._pool.precision]
        seconds = self._limits.seconds(work, rate) / self._pool.devices
        return seconds, self._limits.bound(work, rate)


def measure_device_limits(pool: SlotPool) -> LimitedDevice:
    """Measures at the shapes that the pool computes with."""
    limits = roofline.measure_limits(
        pool.spec,
        encode_rows=pool.shapes.encode_batch * pool.spec.segment_frames,
        step_rows=max(pool.shapes.rows),
    )
    if uses_kernels(pool.precision):
        limits = _with_kernels(limits)
    return LimitedDevice(pool, limits)


def _with_kernels(limits: roofline.Limits) -> roofline.Limits:
    """The faster of XLA's products and of those that the pool computes with."""
    # Imported only where they serve: they bring numba, and programs to compile.
    from mt3_model.cpu.kernels.measuring import flops_per_second  # noqa: PLC0415

    def faster(
        rates: dict[Precision, roofline.GemmRate],
    ) -> dict[Precision, roofline.GemmRate]:
        by_xla = rates["bfloat16"]
        ours = flops_per_second(by_xla.rows, by_xla.inner, by_xla.columns, usable_cores())
        rate = max(by_xla.flops_per_second, ours)
        return {**rates, "bfloat16": dataclasses.replace(by_xla, flops_per_second=rate)}

    return dataclasses.replace(
        limits, encode=faster(limits.encode), generate=faster(limits.generate)
    )
