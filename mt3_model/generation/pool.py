"""What a pool of slots is, and which one suits the devices that JAX found.

slots.py         any device, any precision: XLA's programs (SlotPool)
kernel_slots.py  one CPU, bfloat16: programs of our own (KernelPool)
"""

import importlib
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import jax

from mt3_model.generation.shapes import SlotShapes, suitable_shapes
from mt3_model.generation.slots import SlotPool
from mt3_model.generation.steps import Parameters
from mt3_model.notes.generated import FinishedSlot, SlotEntry
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec


@runtime_checkable  # the test run checks arguments
class Pool(Protocol):
    """Slots: segments in, tokens out, each slot on its own. Driven by one thread."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    @property
    def shapes(self) -> SlotShapes:
        """Of each device."""
        ...

    @property
    def precision(self) -> Precision:
        """Of the operands of products."""
        ...

    @property
    def devices(self) -> int:
        """Devices that share the slots."""
        ...

    @property
    def slots(self) -> int:
        """Segments that generate at once, on all devices."""
        ...

    @property
    def encode_batch(self) -> int:
        """Most segments that `insert` takes at once, on all devices."""
        ...

    def warm_up(self) -> None:
        """Compiles every program that usual recordings need, and runs each verb once."""
        ...

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        """Encodes 1 to ``encode_batch`` segments and starts each in its free slot."""
        ...

    def step(self) -> list[FinishedSlot]:
        """Generates up to ``visit_steps`` tokens in every taken slot.

        Returns:
            The slots that ended, with their tokens; they are free again.
        """
        ...

    def release(self, slots: Iterable[int]) -> None:
        """Frees these slots, whose segments are no longer wanted."""
        ...


def open_pool(
    spec: ModelSpec, parameters: Parameters, *, precision: Precision, slots: int | None = None
) -> Pool:
    """Puts the parameters on all devices of this process.

    Args:
        spec: The model.
        parameters: Its parameter tree, arrays of the host in float32.
        precision: Of the operands of products.
        slots: Of each device; by default what suits it.
    """
    if uses_kernels(precision):
        # Imported only where it serves: it brings numba, and programs to compile.
        from mt3_model.generation.kernel_slots import (  # noqa: PLC0415
            KernelPool,
            suitable_kernel_shapes,
        )

        return KernelPool(spec, parameters, shapes=suitable_kernel_shapes(slots))
    return SlotPool(spec, parameters, shapes=suitable_shapes(slots), precision=precision)


def prepare_kernels(precision: Precision) -> None:
    """Compiles now, if `open_pool` will need them, the CPU's programs (0.6 s, 10 s at first)."""
    if uses_kernels(precision):
        importlib.import_module("mt3_model.generation.kernel_slots")


def uses_kernels(precision: Precision) -> bool:
    """Whether `open_pool` gives a `KernelPool`: one CPU, in bfloat16."""
    return precision == "bfloat16" and [d.platform for d in jax.local_devices()] == ["cpu"]
