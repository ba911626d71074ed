"""The interface of a device, for the library's loop (`offline.py`) and the service's engine.

There are three implementations: `SlotPool` (generation/slots.py, XLA's programs on any device),
`KernelPool` (cpu/kernel_pool.py, the CPU's own programs) and the service's fake, whose tokens can
be worked out by hand. This module imports no JAX, so that the engine and its tests run without it.

All calls come from one thread. A call that raises is a failure of the device: the caller then
releases all slots, after which the backend must be usable again if it ever can be. A segment whose
log probabilities are NaN has failed by itself; the others continue.
"""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from mt3_model.notes.generated import FinishedSlot, SlotEntry


@runtime_checkable  # the test run checks arguments
class Backend(Protocol):
    """Slots that turn segments into tokens, independently of each other."""

    @property
    def slots(self) -> int:
        """R, the number of slots on all devices; they are numbered 0 .. R - 1."""
        ...

    @property
    def encode_batch(self) -> int:
        """Largest number of segments in one `insert`, on all devices."""
        ...

    def warm_up(self) -> None:
        """Compile every program that usual recordings need, and run each method once."""
        ...

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Encode 1 to ``encode_batch`` segments and start each in its free slot."""
        ...

    def step(self) -> list[FinishedSlot]:
        """Run a few generation steps in every taken slot.

        Returns:
            The slots whose segment ended, with its tokens; they are free again. A segment whose
            log probabilities became NaN ends too, with the NaN among them. A backend may return
            what the last call's steps ended, while the device runs those of this call.
        """
        ...

    def release(self, slots: Collection[int], /) -> None:
        """Free these slots, whose segments are no longer wanted; a free slot stays free."""
        ...
