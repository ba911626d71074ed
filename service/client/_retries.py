"""The retry policy: which failures are retried, how often, and after which waits.

Temporary failures are retried: a failed connection, and the statuses 408 (the upload stalled), 429,
502, 503 and 504, except errors whose cause is the request itself. The wait is random between 0 and
a bound that doubles with each attempt ("full jitter"), so that clients hit by one failure do not
return together, and it is never shorter than ``Retry-After``. Source: AWS Architecture Blog,
"Exponential Backoff And Jitter", 2015.

Waits count against the call's time budget. If the next attempt would start after the budget, the
error is raised at once.
"""

import dataclasses
import email.utils
import random
import time
from collections.abc import Callable
from http import HTTPStatus

RETRIED_STATUSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
REQUEST_ERROR_CODES = frozenset(
    {
        "audio_empty", "audio_too_long", "audio_track_not_found", "audio_undecodable",
        "empty_body", "invalid_option", "malformed_form", "unsupported_media_type",
        "upload_too_large",
    }
)  # fmt: skip
"""Error codes whose cause is the request: never retried, whatever status a gateway gives them."""
FIRST_BOUND_SECONDS, LAST_BOUND_SECONDS = 0.5, 30.0
"""Bounds of the first wait and of the longest one: a dropped connection is retried after a quarter
of a second on average, and a server that restarts is asked about four times a minute."""
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""Longest accepted ``Retry-After``: a day."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """The number and duration of retries, with the clocks and random numbers that they use."""

    max_retries: int
    """Attempts after the first; for a stream, in a row without a new event."""
    budget_seconds: float | None
    """Time for a whole call, waits included; None: no limit."""
    random: Callable[[], float]
    """Return a random number in [0, 1)."""
    clock: Callable[[], float]
    """Return the seconds of a monotonic clock."""
    now: Callable[[], float]
    """Return the seconds since 1970."""

    def attempts(self) -> "Attempts":
        """Start counting the attempts of one call."""
        return Attempts(self)


def retry_policy(timeout: float | None, max_retries: int) -> RetryPolicy:
    """Return the policy of a client, with the system's clocks and random numbers.

    Raises:
        ValueError: a number is out of range.
    """
    if timeout is not None and timeout <= 0:
        raise ValueError(f"timeout is {timeout:g} s; expected more than 0, or None for no limit")
    if max_retries < 0:
        raise ValueError(f"max_retries is {max_retries}; expected 0 or more")
    return RetryPolicy(
        max_retries=max_retries, budget_seconds=timeout, random=random.random,
        clock=time.monotonic, now=time.time,
    )  # fmt: skip


class Attempts:
    """The attempts and the remaining time of one call."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._made = 0
        self._started = policy.clock()

    @property
    def made(self) -> int:
        """Number of retries so far."""
        return self._made

    def seconds_left(self) -> float | None:
        """Return the rest of the time budget, 0 or more; None: no limit."""
        budget = self._policy.budget_seconds
        if budget is None:
            return None
        return max(0.0, budget - (self._policy.clock() - self._started))

    def restart(self) -> None:
        """Reset the count and the time budget, because there was progress."""
        self._made = 0
        self._started = self._policy.clock()

    def next_wait(
        self, *, retry_after: float | None = None, bound_seconds: float = FIRST_BOUND_SECONDS
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is none.

        Args:
            retry_after: seconds that the server asked to wait, if any.
            bound_seconds: bound of the first wait.
        """
        if self._made >= self._policy.max_retries:
            return None
        # The exponent is limited, because the number of attempts may not be.
        bound = min(LAST_BOUND_SECONDS, bound_seconds * 2 ** min(self._made, 32))
        # A little jitter on top of Retry-After, which is the same for every client.
        seconds = (retry_after or 0.0) + self._policy.random() * (
            bound if retry_after is None else min(bound, FIRST_BOUND_SECONDS)
        )
        left = self.seconds_left()
        if left is not None and seconds >= left:
            return None
        self._made += 1
        return seconds


def is_retryable(status: int, *, code: str, param: str | None) -> bool:
    """Return whether an error response may differ at the next attempt."""
    return status in RETRIED_STATUSES and code not in REQUEST_ERROR_CODES and param is None


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Parse ``Retry-After``, seconds or an HTTP date (RFC 9110, 10.2.3), into seconds.

    Args:
        value: the header; None is returned if it is missing or invalid.
        now: seconds since 1970.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)
