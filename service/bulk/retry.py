"""Retry storage that does not respond or has no room, for some minutes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.backoff import backoff_seconds
from service.errors import StorageFullError, StorageUnavailableError

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Pauses between attempts; each attempt includes obstore's own retries, up to 20 s."""
T = TypeVar("T")


async def persist(
    ask: Callable[[], Awaitable[T]],
    *,
    pauses: tuple[float, ...] = PAUSES_SECONDS,
) -> T:
    """Await the result of ``ask``, retrying while the storage fails.

    Raises:
        StorageUnavailableError: it still fails after the last pause.
        StorageFullError: it is still full after the last pause.
    """
    for failures in range(1, 1 + len(pauses)):
        try:
            return await ask()
        except (StorageUnavailableError, StorageFullError):
            await asyncio.sleep(backoff_seconds(failures, pauses, spread=0.25))
    return await ask()
