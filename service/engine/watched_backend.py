"""A backend wrapper that shows other threads the call in progress, so that a hang is noticed."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Generator, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import FinishedSlot, SlotEntry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCall:
    """One call of the backend, identified by the object itself."""

    began: float
    """Time of its start, on the caller's clock."""


class WatchedBackend:
    """Forwards to a backend, and records each call while it lasts."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self.slots = backend.slots
        self.encode_batch = backend.encode_batch
        self.call: DeviceCall | None = None
        """The call in progress. Warming up is not recorded: it may take any time."""
        self.is_warming_up = False
        self._backend = backend
        self._clock = clock

    def warm_up(self) -> None:
        """Warm the backend up, unrecorded."""
        self.is_warming_up = True
        try:
            self._backend.warm_up()
        finally:
            self.is_warming_up = False

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Insert segments."""
        with self._recorded():
            self._backend.insert(entries)

    def step(self) -> list[FinishedSlot]:
        """Run generation steps."""
        with self._recorded():
            return self._backend.step()

    def release(self, slots: Collection[int], /) -> None:
        """Release slots."""
        with self._recorded():
            self._backend.release(slots)

    @contextlib.contextmanager
    def _recorded(self) -> Generator[None]:
        self.call = DeviceCall(began=self._clock())
        try:
            yield
        finally:
            self.call = None
