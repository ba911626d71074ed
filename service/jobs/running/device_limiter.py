"""Limits how many items use the device at once, over all tenants and for each tenant."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator


class DeviceLimiter:
    """A concurrency limiter with a limit per tenant, for one event loop."""

    def __init__(self, *, limit: int, tenant_limit: int) -> None:
        """Create the limiter with all permits free.

        Args:
            limit: items at once.
            tenant_limit: items of one tenant at once.
        """
        self._limit = limit
        self._tenant_limit = tenant_limit
        self._held: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def hold(self, tenant: str) -> AsyncGenerator[None]:
        """Hold a permit, in order of arrival, except for tenants at their limit."""
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release(tenant)
            raise
        try:
            yield
        finally:
            self._release(tenant)

    def _release(self, tenant: str) -> None:
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._grant()

    def _grant(self) -> None:
        kept: deque[tuple[str, asyncio.Future[None]]] = deque()
        for tenant, granted in self._waiting:
            if granted.done():  # its task was canceled
                continue
            if self._held.total() < self._limit and self._held[tenant] < self._tenant_limit:
                self._held[tenant] += 1
                granted.set_result(None)
            else:
                kept.append((tenant, granted))
        self._waiting = kept
