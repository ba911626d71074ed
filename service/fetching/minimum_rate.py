"""A least rate for what somebody else's server or store sends, by a deadline that moves with it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator


class LeastRate:
    """Counts what arrives. Made by `least_rate`."""

    def __init__(
        self, timeout: asyncio.Timeout, *, bytes_per_second: float, grace_seconds: float
    ) -> None:
        """Begins now.

        Args:
            timeout: Entered; it ends what is too slow.
            bytes_per_second: Least mean rate; 0: none.
            grace_seconds: Time by which what arrives may be behind that rate.
        """
        self._timeout = timeout
        self._rate = bytes_per_second
        self._ending = asyncio.get_running_loop().time() + grace_seconds
        self._move()

    def count(self, size: int) -> None:
        """Counts bytes that have arrived."""
        if self._rate > 0:
            self._ending += size / self._rate
            self._move()

    @contextlib.contextmanager
    def storing(self) -> Generator[None]:
        """Leaves out the time spent in the context: our own disk's is not held against others."""
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
    """Ends what happens within with `TimeoutError` when too little of it has been counted.

    Args:
        bytes_per_second: Least mean rate; 0: none.
        grace_seconds: Time by which what arrives may be behind that rate.
    """
    async with asyncio.timeout(None) as timeout:
        yield LeastRate(timeout, bytes_per_second=bytes_per_second, grace_seconds=grace_seconds)
