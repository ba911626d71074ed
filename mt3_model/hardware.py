"""Choose precision and programs for this machine's devices, and open a backend there.

    slots.py of generation/  any device, any precision: XLA's programs (SlotPool)
    slots.py of cpu/         one CPU in bfloat16: the CPU's own programs (KernelPool)

The choice of precision is a function of the hardware and of nothing else: the two precisions give
other notes at near-ties, so two starts on one machine must not differ, whatever else the machine
does meanwhile. CPUs with AVX-512 BF16 or AMX multiply bfloat16 faster. Others (AVX2, and ARM, whose
bfloat16 instructions our programs do not use) convert the operands and sum in float32.
"""

import importlib

import jax

from mt3_model.cpu.processor import BFLOAT16_FEATURES, processor_features
from mt3_model.generation.backend import Backend
from mt3_model.generation.shapes import suitable_shapes
from mt3_model.generation.slots import SlotPool
from mt3_model.generation.steps import Parameters
from mt3_model.notes.transcription import Precision, PrecisionChoice
from mt3_model.spec import ModelSpec


def choose_precision(choice: PrecisionChoice) -> Precision:
    """Resolve ``auto`` for the devices that JAX found."""
    if choice != "auto":
        return choice
    platform = jax.default_backend()
    return suitable_precision(platform, processor_features() if platform == "cpu" else frozenset())


def suitable_precision(platform: str, features: frozenset[str]) -> Precision:
    """Return the precision that ``auto`` stands for.

    Args:
        platform: JAX's name of the devices' kind: ``cpu``, ``gpu``, ``tpu``.
        features: The processor's instruction sets; read on a CPU only.
    """
    is_fast = platform != "cpu" or bool(features & BFLOAT16_FEATURES)
    return "bfloat16" if is_fast else "float32"


def open_backend(
    spec: ModelSpec, parameters: Parameters, *, precision: Precision, slots: int | None = None
) -> Backend:
    """Put the parameters on all devices of this process.

    Args:
        spec: The model.
        parameters: The model's parameter tree, arrays of the host in float32.
        precision: Precision of the operands of products.
        slots: Slots of each device; by default what suits it.
    """
    if uses_kernels(precision):
        # Imported only where they are used: they bring numba, and programs to compile.
        from mt3_model.cpu.slots import KernelPool, suitable_kernel_shapes  # noqa: PLC0415

        return KernelPool(spec, parameters, shapes=suitable_kernel_shapes(slots))
    return SlotPool(spec, parameters, shapes=suitable_shapes(slots), precision=precision)


def prepare_kernels(precision: Precision) -> None:
    """Compile the CPU's programs now if `open_backend` will need them (0.6 s; 10 s at first)."""
    if uses_kernels(precision):
        importlib.import_module("mt3_model.cpu.slots")


def uses_kernels(precision: Precision) -> bool:
    """Return whether `open_backend` gives a `KernelPool`: one CPU, in bfloat16."""
    return precision == "bfloat16" and [d.platform for d in jax.local_devices()] == ["cpu"]
