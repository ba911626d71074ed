"""A lock that many tasks share or one task holds alone, for items suspected of killing the process.

A recording that kills the process (a fault in a native library, lack of memory) also interrupts the
other running items; after a restart they all start again and are interrupted again. Failing all of
them would fail good recordings. So an item that was started twice without ending properly is a
suspect: it goes to a quarantine queue and runs while nothing else does. If the process dies then,
the cause is known.

All other items end before a suspect runs; this happens after crashes only.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator


class ReadWriteLock:
    """A read-write lock for one event loop; waiting writers go before new readers."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._readers = 0
        self._is_written = False
        self._waiting_writers = 0

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Share the lock with others; waits while a task holds or awaits exclusive access."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._is_written and self._waiting_writers == 0
            )
            self._readers += 1
        try:
            yield
        finally:
            await self._release()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """Hold the lock alone; waits until no other task holds it."""
        async with self._changed:
            self._waiting_writers += 1
            try:
                await self._changed.wait_for(lambda: self._readers == 0 and not self._is_written)
                self._is_written = True
            finally:
                self._waiting_writers -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            await self._release()

    async def _release(self) -> None:
        # The state changes before the first await, so a cancellation here cannot leave it counted.
        if self._is_written:
            self._is_written = False
        else:
            self._readers -= 1
        async with self._changed:
            self._changed.notify_all()
