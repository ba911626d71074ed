"""Who may run beside whom: items run together, a suspect of a crash runs alone.

A recording that kills the process (a fault in a native library, memory at its end) takes its
neighbours with it, and after a restart they all begin again, and die again. Blaming all that ran at
the time would fail the innocent. So an item that was begun twice without an ordered end is a
suspect; suspects go to a queue of their own and are begun, one at a time, when nothing else runs in
the process. If the process dies then, it is known of what.

The price is that a process is emptied before a suspect runs; it is paid after crashes only.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator


class Gate:
    """Many together, or one alone. Of one event loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inside = 0
        self._alone_inside = False
        self._alone_waiting = 0

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncGenerator[None]:
        """Waits while one is alone inside, or waits to be: they go first, being rare."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._alone_inside and self._alone_waiting == 0
            )
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Waits until nobody is inside."""
        async with self._changed:
            self._alone_waiting += 1
            try:
                await self._changed.wait_for(lambda: self._inside == 0 and not self._alone_inside)
                self._alone_inside = True
            finally:
                self._alone_waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            await self._leave()

    async def _leave(self) -> None:
        # Nothing is awaited between the lock's end and the change, so that being cancelled here
        # cannot leave somebody counted who has gone.
        if self._alone_inside:
            self._alone_inside = False
        else:
            self._inside -= 1
        async with self._changed:
            self._changed.notify_all()
