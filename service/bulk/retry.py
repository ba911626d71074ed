"""A storage that does not answer, or has no room, is asked again: for minutes, and then no more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.backoff import backoff_seconds
from service.errors import StorageFullError, StorageUnavailableError

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Between tries; each try has obstore's own retries, up to 20 s, in it."""
T = TypeVar("T")


async def persist(
    ask: Callable[[], Awaitable[T]],
    *,
    pauses: tuple[float, ...] = PAUSES_SECONDS,
) -> T:
    """Await the result of ``ask``, retrying while the storage fails.

    Raises:
        StorageUnavailableError: It still does after the last pause.
        StorageFullError: The same.
    """
    for failures in range(1, 1 + len(pauses)):
        try:
            return await ask()
        except (StorageUnavailableError, StorageFullError):
            await asyncio.sleep(backoff_seconds(failures, pauses, spread=0.25))
    return await ask()
