"""The share of the machine's measured limits that encode and generate reach."""

import dataclasses

from mt3_model.cores import usable_cores
from mt3_model.cpu.kernel_pool import KernelPool
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.transcription import Precision
from service.benchmark.benchmark_report import Stage
from tests.benchmarks.limits import roofline
from tests.benchmarks.limits.kernel_rate import flops_per_second


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One stage's time and the least time that this machine could need for it."""

    stage: Stage
    least_seconds: float
    bound: roofline.Bound
    """The rate that determines the least time."""

    @property
    def limit_share(self) -> float:
        """Least time over time taken."""
        return self.least_seconds / self.stage.seconds


def measure_limits(pool: SlotPool | KernelPool) -> roofline.Limits:
    """Measure the machine at the shapes that the pool computes with."""
    limits = roofline.measure_limits(
        pool.spec,
        encode_rows=pool.shapes.encode_batch * pool.spec.segment_frames,
        step_rows=max(pool.shapes.rows),
    )
    return _with_kernels(limits, pool.precision) if isinstance(pool, KernelPool) else limits


def share_stages(
    pool: SlotPool, limits: roofline.Limits, stages: list[Stage], tokens_each: int
) -> list[Share]:
    """Compare the stages encode and generate with the limits.

    Args:
        pool: The slots that were measured.
        limits: The result of `measure_limits`.
        stages: Encode and generate, measured by `service/benchmark/stages.py`.
        tokens_each: Tokens that each slot generated in the measurement.
    """
    encode, generate = stages
    spec, widths = pool.spec, roofline.widths_of(pool.precision)
    devices = getattr(pool, "devices", 1)
    encoding = roofline.encode_work(
        spec, segments=encode.units, batch=pool.encode_batch // devices, widths=widths
    )
    # As measured: so many tokens in every slot, so that the columns are those used there.
    tokens = pool.slots * tokens_each
    generating = roofline.generate_work(
        spec, segments=pool.slots, tokens=tokens, rows=pool.slots // devices, widths=widths
    )
    works = (
        (encode, encoding, limits.encode[pool.precision], 1.0),
        (generate, generating, limits.generate[pool.precision], generate.units / tokens),
    )
    return [
        Share(
            stage=stage,
            least_seconds=limits.seconds(work, rate) / devices * scale,
            bound=limits.bound(work, rate),
        )
        for stage, work, rate, scale in works
    ]


def _with_kernels(limits: roofline.Limits, precision: Precision) -> roofline.Limits:
    """Return the faster of XLA's products and those of the CPU's own programs."""

    def faster(
        rates: dict[Precision, roofline.GemmRate],
    ) -> dict[Precision, roofline.GemmRate]:
        by_xla = rates[precision]
        shape = by_xla.rows, by_xla.inner, by_xla.columns
        ours = flops_per_second(*shape, usable_cores(), precision)
        rate = max(by_xla.flops_per_second, ours)
        return {**rates, precision: dataclasses.replace(by_xla, flops_per_second=rate)}

    return dataclasses.replace(
        limits, encode=faster(limits.encode), generate=faster(limits.generate)
    )
