"""A minimum rate for transfers from other servers or stores, as a deadline that bytes extend."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator


class LeastRate:
    """Counts the bytes that arrive; created by `least_rate`."""

    def __init__(
        self, timeout: asyncio.Timeout, *, bytes_per_second: float, grace_seconds: float
    ) -> None:
        """Start measuring now.

        Args:
            timeout: an entered timeout, which ends a transfer that is too slow.
            bytes_per_second: the lowest mean rate; 0 for no limit.
            grace_seconds: Time by which what arrives may be behind that rate.
        """
        self._timeout = timeout
        self._rate = bytes_per_second
        self._ending = asyncio.get_running_loop().time() + grace_seconds
        self._move()

    def count(self, size: int) -> None:
        """Count bytes that have arrived."""
        if self._rate > 0:
            self._ending += size / self._rate
            self._move()

    @contextlib.contextmanager
    def storing(self) -> Generator[None]:
        """Exclude the time spent in the context, such as writing to our own disk."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._timeout.reschedule(None)
        try:
            yield
        finally:
            self._ending += loop.time() - began
            self._move()

    def _move(self) -> None:
        self._timeout.reschedule(self._ending if self._rate > 0 else None)


@contextlib.asynccontextmanager
async def least_rate(bytes_per_second: float, grace_seconds: float) -> AsyncGenerator[LeastRate]:
    """Raise `TimeoutError` in the context if its transfer is too slow.

    Args:
        bytes_per_second: the lowest mean rate; 0 for no limit.
        grace_seconds: Time by which what arrives may be behind that rate.
    """
    async with asyncio.timeout(None) as timeout:
        yield LeastRate(timeout, bytes_per_second=bytes_per_second, grace_seconds=grace_seconds)
