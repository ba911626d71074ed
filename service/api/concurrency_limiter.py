"""Limit each caller's concurrent transcriptions and exports.

A permit is taken when the request's head has arrived, before its body is received. It is released
when the response is written or, for a stream, when the last event is ready, whether or not a client
is still reading.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator

from service.auth.caller import Caller
from service.errors import QuotaError


class ConcurrencyLimiter:
    """Counts each caller's running requests. To be used from one event loop."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    @contextlib.contextmanager
    def acquire(self, caller: Caller, retry_after_seconds: Callable[[str], int]) -> Generator[None]:
        """Hold one permit while the context lasts.

        Args:
            caller: The caller that made the request.
            retry_after_seconds: Called on refusal with the caller's name; estimates when one of its
                permits will be free, 1 s or more.

        Raises:
            QuotaError: The caller has reached its limit of running requests.
        """
        allowed = caller.limits.max_concurrent_requests
        if allowed is not None and self._running[caller.name] >= allowed:
            seconds = retry_after_seconds(caller.name)
            raise QuotaError(
                f"{self._running[caller.name]} transcriptions and exports of this key are running,"
                f" and its limit is {allowed} (max_concurrent_requests); try again in {seconds} s",
                retry_after_seconds=seconds,
            )
        self._running[caller.name] += 1
        try:
            yield
        finally:
            self._running[caller.name] -= 1
            if not self._running[caller.name]:
                del self._running[caller.name]
