"""When a call is tried again, and after how long.

Tried again is what another attempt can mend: a connection that fails, and the statuses 408 (our
upload stalled), 429, 502, 503 and 504. Not what the server lays at the request's door: another
attempt would be refused alike. The wait is drawn between 0 and a bound that doubles ("full
jitter", so that clients whom one failure struck together do not come back together), and never
shorter than the server asks by ``Retry-After``. Source of the rule: AWS Architecture Blog,
"Exponential Backoff And Jitter", 2015.

All waits of a call count against its budget of time: where the next attempt would begin after it,
the failure at hand is raised at once, not after a wait that could not help.
"""

import dataclasses
import email.utils
from collections.abc import Callable
from http import HTTPStatus

RETRIED = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses that pass by themselves."""
AT_FAULT = frozenset(
    {
        "audio_empty", "audio_too_long", "audio_undecodable", "empty_body", "invalid_option",
        "malformed_form", "unsupported_media_type", "upload_too_large",
    }
)  # fmt: skip
"""Codes that blame what was sent: final, whatever status a gateway in between made of them."""
FIRST_BOUND_SECONDS, LAST_BOUND_SECONDS = 0.5, 30.0
"""Bounds of the first wait and of every later one: a dropped connection is mended in half a second
on average, and a server that restarts is asked twice a minute."""
LONGEST_ASKED_SECONDS = 86_400.0
"""What ``Retry-After`` may ask: a day, and finite whatever was sent."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often, and how long."""

    max_retries: int
    """Attempts after the first; of a stream, in a row without a new event."""
    budget_seconds: float | None
    """Of a whole call, its waits included; none: for ever."""
    random: Callable[[], float]
    """Uniform in [0, 1)."""
    clock: Callable[[], float]
    """Seconds, never going back."""
    today: Callable[[], float]
    """Seconds since 1970."""

    def attempts(self) -> "Attempts":
        """Begins a call."""
        return Attempts(self)


class Attempts:
    """One call's attempts, and what is left of its time."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._made = 0
        self._began = policy.clock()

    @property
    def made(self) -> int:
        """Attempts after the first, so far."""
        return self._made

    def seconds_left(self) -> float | None:
        """Of the budget; none: for ever. Never negative."""
        budget = self._policy.budget_seconds
        if budget is None:
            return None
        return max(0.0, budget - (self._policy.clock() - self._began))

    def restart(self) -> None:
        """There was progress: counts and time begin anew."""
        self._made = 0
        self._began = self._policy.clock()

    def next_wait(
        self, *, asked_seconds: float | None = None, bound_seconds: float = FIRST_BOUND_SECONDS
    ) -> float | None:
        """Says after how many seconds to try again; none: not at all.

        Args:
            asked_seconds: What the server asks by ``Retry-After``.
            bound_seconds: Of the first wait.
        """
        if self._made >= self._policy.max_retries:
            return None
        # A power that stays a number: there may be any number of attempts.
        bound = min(LAST_BOUND_SECONDS, bound_seconds * 2 ** min(self._made, 32))
        # What the server asks is kept, and a little jitter added to it: it asks all alike.
        seconds = (asked_seconds or 0.0) + self._policy.random() * (
            bound if asked_seconds is None else min(bound, FIRST_BOUND_SECONDS)
        )
        left = self.seconds_left()
        if left is not None and seconds >= left:
            return None
        self._made += 1
        return seconds


def is_worth_retrying(status: int, *, code: str, param: str | None) -> bool:
    """Says whether another attempt may be answered differently."""
    return status in RETRIED and code not in AT_FAULT and param is None


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """Reads ``Retry-After``: seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: The header; absent or unreadable: nothing is asked.
        now: Seconds since 1970.
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
    return min(max(0.0, seconds), LONGEST_ASKED_SECONDS)
