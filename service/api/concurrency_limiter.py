"""How many transcriptions each caller may have under way: counted from a request's head.

A place is taken before the body is received and given back when the answer is written: of a
stream, when its last event is there, whether or not anybody reads on.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator

from service.auth.caller import Caller
from service.errors import QuotaError


class ConcurrencyLimiter:
    """Counts the requests of each caller. To be used from one event loop."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def acquire(
        self, caller: Caller, retry_after_seconds: Callable[[Caller], int]
    ) -> Generator[None]:
        """Holds one place for as long as the context lasts.

        Args:
            caller: Whose request it is.
            retry_after_seconds: Asked, on refusal, when a place of this caller's should be free: 1
                or more.

        Raises:
            QuotaError: The caller has as many requests under way as it may.
        """
        allowed = caller.limits.max_concurrent_requests
        if allowed is not None and self._taken[caller.name] >= allowed:
            seconds = retry_after_seconds(caller)
            raise QuotaError(
                f"{self._taken[caller.name]} transcriptions of this key are under way; it may have"
                f" {allowed} (max_concurrent_requests); try again in {seconds} s",
                retry_after_seconds=seconds,
            )
        self._taken[caller.name] += 1
        try:
            yield
        finally:
            self._taken[caller.name] -= 1
            if not self._taken[caller.name]:
                del self._taken[caller.name]
