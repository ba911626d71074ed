"""Choose precision and programs for this machine's devices, and open a backend there.

    generation/slots.py  any device, any precision: XLA's programs (SlotPool)
                         NVIDIA GPUs: the same, with cached attention compiled by Triton
    cpu/kernel_pool.py   one CPU: the CPU's own programs, compiled by numba (KernelPool)

The choice depends only on the settings and the hardware, not on a measurement at the start:
precisions, and the two kinds of programs, give different notes at near-ties, so two starts on one
machine must not differ. The meaning of ``auto`` is based on measurements (deploy/decisions/0007):

    NVIDIA GPUs from Ampere on       bfloat16, triton; float32, if requested, triton
    other accelerators               bfloat16, XLA
    CPUs with AVX-512 BF16 or AMX    bfloat16, numba; float32, if requested, numba
    CPUs with AVX-512 or AVX2        float32, numba; bfloat16, if requested, numba
    other CPUs (ARM)                 float32, XLA; bfloat16, if requested, numba
"""

import dataclasses
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

import jax

from mt3_model.cpu.processor import (
    BFLOAT16_FEATURES,
    instruction_set,
    processor_features,
)
from mt3_model.errors import OptionError
from mt3_model.generation.backend import Backend
from mt3_model.generation.shapes import (
    fit_memory,
    row_bytes,
    suitable_shapes,
)
from mt3_model.network.params import Parameters
from mt3_model.notes.transcription import (
    Kernels,
    KernelsChoice,
    Precision,
    PrecisionChoice,
)
from mt3_model.spec import ModelSpec

_TRITON_CAPABILITY = 8.0
"""Ampere's, the oldest that Pallas supports: https://docs.jax.dev/en/latest/pallas/gpu/index.html"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Arithmetic:
    """Precision and programs, as chosen."""

    precision: Precision
    kernels: Kernels
    instruction_set: str | None
    """The processor's widest instruction set for this work; None on an accelerator."""


def choose_arithmetic(
    precision: PrecisionChoice = "auto",
    cpu_kernels: KernelsChoice = "auto",
    gpu_kernels: KernelsChoice = "auto",
) -> Arithmetic:
    """Resolve the settings for the devices that JAX found.

    Raises:
        OptionError: Our own programs are requested but cannot run here.
    """
    platforms = [device.platform for device in jax.local_devices()]
    features = processor_features() if platforms[0] == "cpu" else frozenset[str]()
    return suitable_arithmetic(
        precision,
        cpu_kernels,
        gpu_kernels,
        platforms=platforms,
        features=features,
        runs_triton=all(runs_triton(device) for device in jax.local_devices()),
    )


def runs_triton(device: Any) -> bool:
    """Return whether Triton compiles programs for a `jax.Device`: an NVIDIA GPU from Ampere on."""
    capability = str(getattr(device, "compute_capability", ""))  # "9.0"; of AMD's GPUs "gfx942"
    if device.platform != "gpu" or not re.fullmatch(r"\d+\.\d+", capability):
        return False
    has_pallas = importlib.util.find_spec("jax.experimental.pallas.triton") is not None
    return has_pallas and float(capability) >= _TRITON_CAPABILITY


def suitable_arithmetic(
    precision: PrecisionChoice,
    cpu_kernels: KernelsChoice,
    gpu_kernels: KernelsChoice = "auto",
    *,
    platforms: Sequence[str],
    features: frozenset[str],
    runs_triton: bool = False,
) -> Arithmetic:
    """Resolve the settings for some devices.

    Args:
        precision: The setting of the precision.
        cpu_kernels: Whether to use the CPU's own programs.
        gpu_kernels: Whether to use attention compiled by Triton.
        platforms: JAX's name of each device's kind: ``cpu``, ``gpu``, ``tpu``.
        features: The processor's instruction sets; read on a CPU only.
        runs_triton: Whether the devices are GPUs that Triton compiles for.

    Raises:
        OptionError: Our own programs are requested but cannot run on these devices.
    """
    is_one_cpu = list(platforms) == ["cpu"]
    has_bfloat16 = platforms[0] != "cpu" or bool(features & BFLOAT16_FEATURES)
    if cpu_kernels == "on" and not is_one_cpu:
        raise OptionError(
            "cpu_kernels",
            f"MT3_CPU_KERNELS is on, and JAX found {', '.join(platforms)}; expected one CPU",
        )
    if gpu_kernels == "on" and not runs_triton:
        raise OptionError(
            "gpu_kernels",
            f"MT3_GPU_KERNELS is on, and JAX found {', '.join(platforms)}; expected NVIDIA GPUs of "
            f"compute capability {_TRITON_CAPABILITY} or above, and a JAX with Pallas",
        )
    chosen = ("bfloat16" if has_bfloat16 else "float32") if precision == "auto" else precision
    is_faster = chosen == "bfloat16" or "avx2" in features
    uses_kernels = is_one_cpu and (cpu_kernels == "on" or (cpu_kernels == "auto" and is_faster))
    kernels: Kernels = "numba" if uses_kernels else "xla"
    if runs_triton and gpu_kernels != "off":
        kernels = "triton"
    return Arithmetic(
        precision=chosen,
        kernels=kernels,
        instruction_set=instruction_set(features) if platforms[0] == "cpu" else None,
    )


def open_backend(
    spec: ModelSpec,
    parameters: Parameters,
    arithmetic: Arithmetic,
    *,
    slots: int | None = None,
    reproducible: bool = False,
) -> Backend:
    """Put the parameters on all devices of this process.

    Args:
        spec: The model.
        parameters: The model's parameter tree, arrays of the host in float32.
        arithmetic: Precision and programs.
        slots: Slots of each device; by default chosen for the device.
        reproducible: Whether a recording's tokens must not depend on what else is generated. With
            the CPU's own programs, which compute each row by itself, they never do.
    """
    precision = arithmetic.precision
    # Each backend is imported only where it is used: they bring Flax and numba.
    if arithmetic.kernels != "numba":
        from mt3_model.generation.slots import SlotPool  # noqa: PLC0415

        uses_triton = arithmetic.kernels == "triton"
        shapes = suitable_shapes(slots, one_column_bucket=uses_triton, reproducible=reproducible)
        if uses_triton and slots is None:
            shapes = fit_memory(shapes, row_bytes(spec, precision), _device_memory())
        return SlotPool(
            spec,
            parameters,
            shapes=shapes,
            precision=precision,
            cached_attention="triton" if uses_triton else "xla",
            ends_early=not uses_triton,
            launches_ahead=jax.default_backend() != "cpu",
        )
    from mt3_model.cpu.kernel_pool import KernelPool, suitable_kernel_shapes  # noqa: PLC0415

    shapes = suitable_kernel_shapes(slots)
    return KernelPool(spec, parameters, shapes=shapes, precision=precision)


def _device_memory() -> int | None:
    """Return the bytes that JAX may use on the first device; None if the device does not say."""
    statistics = jax.local_devices()[0].memory_stats()
    return None if statistics is None else statistics.get("bytes_limit")


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
