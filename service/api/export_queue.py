"""Run the exports of `POST /v1/exports`, apart from the server's other blocking work.

An export of a hundred thousand notes takes many seconds and 200 MB. In asyncio's executor, a few of
them would delay everyone's files and database, and the process would wait for them at its end. So
few run at once, in daemon threads, and a bounded number waits. Large documents have a thread of
their own, so that a song's export need not wait for them.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from service.daemon_thread import in_daemon_thread
from service.errors import OverloadedError

SMALL_DOCUMENT_BYTES = 2**20
"""About four thousand notes: a song of several minutes."""
RETRY_AFTER_SECONDS = 10
"""A hundred thousand notes take 6 s to MIDI on two cores of an AMD EPYC 7003."""
T = TypeVar("T")


class ExportQueue:
    """Runs a bounded number of exports. To be used from one event loop."""

    def __init__(self) -> None:
        self._small = _Lane(threads=2, max_waiting=64)
        # Each waiting document takes up to 32 MiB.
        self._large = _Lane(threads=1, max_waiting=4)

    async def run(self, export: Callable[[], T], *, document_bytes: int) -> T:
        """Run an export in a thread, when one is free.

        Args:
            export: The export. Once started, it runs to its end even if the await is canceled.
            document_bytes: Size of the document to export.

        Raises:
            OverloadedError: Too many exports are waiting.
        """
        lane = self._small if document_bytes <= SMALL_DOCUMENT_BYTES else self._large
        return await lane.run(export)


class _Lane:
    """Some threads, and the exports that wait for them."""

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._free = asyncio.Semaphore(threads)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def run(self, export: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise OverloadedError(
                f"{self._waiting} exports of this size are waiting, which is the limit; try again"
                f" in {RETRY_AFTER_SECONDS} s",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        running = asyncio.ensure_future(in_daemon_thread(export, name="export"))
        # Not at the end of the await: a canceled request's thread still runs.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)
