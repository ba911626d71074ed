"""Whose recording may be worked on now: places at the device, taken when the recording is local.

Fetching takes as long as the other server likes, so an item is fetched first, in a place of the
fetch queue, and takes a place at the device only then. `ItemProcessor` asks for its turn where the
work on the recording begins; the queue, which knows the tenant and whether the item is a suspect,
gives it through the context of the item's own task, as with `service/jobs/length_note.py`.
"""

import asyncio
import contextlib
import contextvars
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Gives what holds the place."""
_turn: contextvars.ContextVar[Turn | None] = contextvars.ContextVar("device_turn", default=None)


@contextlib.contextmanager
def giving_turn(turn: Turn) -> Generator[None]:
    """Lets `device_turn` use ``turn`` in what this task does meanwhile."""
    token = _turn.set(turn)
    try:
        yield
    finally:
        _turn.reset(token)


def device_turn() -> AbstractAsyncContextManager[None]:
    """Waits for a place at the device, and holds it; at once where no queue gives them."""
    turn = _turn.get()
    return contextlib.nullcontext() if turn is None else turn()


class DevicePlaces:
    """So many items at once, and of each tenant so many. To be used from one event loop."""

    def __init__(self, *, most: int, most_per_tenant: int) -> None:
        """Begins without any.

        Args:
            most: Items at once.
            most_per_tenant: Of one tenant.
        """
        self._most = most
        self._most_per_tenant = most_per_tenant
        self._taken: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def take(self, tenant: str) -> AsyncGenerator[None]:
        """Holds a place, in the order of asking but for tenants that have all of theirs."""
        given = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant, given))
        self._give()
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._leave(tenant)
            raise
        try:
            yield
        finally:
            self._leave(tenant)

    def _leave(self, tenant: str) -> None:
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
        self._give()

    def _give(self) -> None:
        kept: deque[tuple[str, asyncio.Future[None]]] = deque()
        for tenant, given in self._waiting:
            if given.done():  # it gave up waiting
                continue
            if self._taken.total() < self._most and self._taken[tenant] < self._most_per_tenant:
                self._taken[tenant] += 1
                given.set_result(None)
            else:
                kept.append((tenant, given))
        self._waiting = kept
