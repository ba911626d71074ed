"""A backend whose call under way another thread can see, so that one that hangs is noticed."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Generator, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import FinishedSlot, SlotEntry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCall:
    """A call of the backend; each is an object of its own."""

    began: float
    """On the clock of the one who calls."""


class WatchedBackend:
    """Does what its backend does, and says since when."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self.slots = backend.slots
        self.encode_batch = backend.encode_batch
        self.call: DeviceCall | None = None
        """The one under way; none while it warms up, which may take any time."""
        self._backend = backend
        self._clock = clock

    def warm_up(self) -> None:
        """As the backend does, unseen."""
        self._backend.warm_up()

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """As the backend does."""
        with self._seen():
            self._backend.insert(entries)

    def step(self) -> list[FinishedSlot]:
        """As the backend does."""
        with self._seen():
            return self._backend.step()

    def release(self, slots: Collection[int], /) -> None:
        """As the backend does."""
        with self._seen():
            self._backend.release(slots)

    @contextlib.contextmanager
    def _seen(self) -> Generator[None]:
        self.call = DeviceCall(began=self._clock())
        try:
            yield
        finally:
            self.call = None
