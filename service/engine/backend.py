"""The seam between the service and the device: what the engine asks of it.

Three real implementations make it one: the library's two pools of slots
(`mt3_model/generation/pool.py`), and the hand-computable one of `fake_backend.py`. Everything here
is called from one thread.

What a call raises counts as a failure of the device: the engine then takes every segment out of its
slot and calls ``release`` with all slots, after which the backend must be usable again if it ever
can be. A segment whose log probabilities are no numbers has failed by itself: the others go on.
"""

from collections.abc import Sequence
from typing import Protocol

from mt3_model.notes.generated import FinishedSlot, SlotEntry


class Backend(Protocol):
    """Makes tokens of segments, in slots."""

    @property
    def slots(self) -> int:
        """R in all; they are named 0 .. R - 1."""
        ...

    @property
    def encode_batch(self) -> int:
        """Most segments of one ``insert``, which costs the same for fewer."""
        ...

    def warm_up(self) -> object:
        """Does what the first calls would otherwise pay for: compiling, mostly."""
        ...

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Encodes 1 to ``encode_batch`` segments and starts each in its free slot."""
        ...

    def step(self) -> list[FinishedSlot]:
        """Visits the device once: some generation steps for every live slot.

        Returns:
            The slots whose segment ended, with its tokens; they are free again. So does a segment
            whose log probabilities have become NaN, which they then hold.
        """
        ...

    def release(self, slots: Sequence[int], /) -> None:
        """Stops these slots, whose segments are no longer wanted; a free one stays free."""
        ...
