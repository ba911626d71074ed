"""Choose precision and programs for this machine's devices, and open a backend there.

    generation/slots.py  any device, any precision: XLA's programs (SlotPool)
    cpu/kernel_pool.py   one CPU: the CPU's own programs, compiled by numba (KernelPool)

The choice is a function of the settings and the hardware, and of no measurement at the start:
precisions, and the two kinds of programs, give other notes at near-ties, so two starts on one
machine must not differ. What ``auto`` stands for was measured once (deploy/decisions/0007):

    accelerators                     bfloat16, XLA
    CPUs with AVX-512 BF16 or AMX    bfloat16, numba; float32, when asked for, XLA
    CPUs with AVX2                   float32, numba; bfloat16, when asked for, numba
    other CPUs (ARM)                 float32, XLA; bfloat16, when asked for, numba
"""

import dataclasses
from collections.abc import Sequence

import jax

from mt3_model.cpu.processor import (
    BFLOAT16_FEATURES,
    instruction_set,
    processor_features,
)
from mt3_model.errors import OptionError
from mt3_model.generation.backend import Backend
from mt3_model.generation.shapes import suitable_shapes, suitable_warm_columns
from mt3_model.generation.slots import SlotPool
from mt3_model.generation.steps import Parameters
from mt3_model.notes.transcription import (
    Kernels,
    KernelsChoice,
    Precision,
    PrecisionChoice,
)
from mt3_model.spec import ModelSpec


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Arithmetic:
    """Precision and programs, as chosen."""

    precision: Precision
    kernels: Kernels
    instruction_set: str | None
    """The processor's widest instruction set for this work; None on an accelerator."""


def choose_arithmetic(
    precision: PrecisionChoice = "auto", cpu_kernels: KernelsChoice = "auto"
) -> Arithmetic:
    """Resolve the settings for the devices that JAX found.

    Raises:
        OptionError: The CPU's own programs are asked for where they cannot run.
    """
    platforms = [device.platform for device in jax.local_devices()]
    features = processor_features() if platforms[0] == "cpu" else frozenset[str]()
    return suitable_arithmetic(precision, cpu_kernels, platforms=platforms, features=features)


def suitable_arithmetic(
    precision: PrecisionChoice,
    cpu_kernels: KernelsChoice,
    *,
    platforms: Sequence[str],
    features: frozenset[str],
) -> Arithmetic:
    """Resolve the settings for some devices.

    Args:
        precision: The setting of the precision.
        cpu_kernels: Whether the CPU's own programs compute.
        platforms: JAX's name of each device's kind: ``cpu``, ``gpu``, ``tpu``.
        features: The processor's instruction sets; read on a CPU only.

    Raises:
        OptionError: The CPU's own programs are asked for where they cannot run.
    """
    is_one_cpu = list(platforms) == ["cpu"]
    has_bfloat16 = platforms[0] != "cpu" or bool(features & BFLOAT16_FEATURES)
    if cpu_kernels == "on" and not is_one_cpu:
        raise OptionError(
            "cpu_kernels",
            f"MT3_CPU_KERNELS is on, and JAX found {', '.join(platforms)}; expected one CPU",
        )
    chosen = ("bfloat16" if has_bfloat16 else "float32") if precision == "auto" else precision
    is_faster = chosen == "bfloat16" or ("avx2" in features and "avx512f" not in features)
    uses_kernels = is_one_cpu and (cpu_kernels == "on" or (cpu_kernels == "auto" and is_faster))
    return Arithmetic(
        precision=chosen,
        kernels="numba" if uses_kernels else "xla",
        instruction_set=instruction_set(features) if platforms[0] == "cpu" else None,
    )


def open_backend(
    spec: ModelSpec, parameters: Parameters, arithmetic: Arithmetic, *, slots: int | None = None
) -> Backend:
    """Put the parameters on all devices of this process.

    Args:
        spec: The model.
        parameters: The model's parameter tree, arrays of the host in float32.
        arithmetic: Precision and programs.
        slots: Slots of each device; by default chosen for the device.
    """
    precision = arithmetic.precision
    if arithmetic.kernels == "xla":
        return SlotPool(
            spec,
            parameters,
            shapes=suitable_shapes(slots),
            warm_columns=suitable_warm_columns(),
            precision=precision,
        )
    # Imported only where they are used: they bring numba.
    from mt3_model.cpu.kernel_pool import KernelPool, suitable_kernel_shapes  # noqa: PLC0415

    shapes = suitable_kernel_shapes(slots)
    return KernelPool(spec, parameters, shapes=shapes, precision=precision)


def prepare_kernels(arithmetic: Arithmetic) -> None:
    """Compile the CPU's programs now if `open_backend` will need them.

    Takes 10 s, or 0.6 s with the machine code that an earlier call or `make install` left on disk.
    """
    if arithmetic.kernels == "numba":
        from mt3_model.cpu.packed_network import compile_programs  # noqa: PLC0415 (brings numba)

        compile_programs(arithmetic.precision)


if __name__ == "__main__":
    # `make install` runs this, so that the first start finds the machine code on disk.
    prepare_kernels(choose_arithmetic())
