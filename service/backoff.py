"""Backoff: the pause before another attempt, for jobs, webhooks, bulk work and the database."""

import random
from collections.abc import Sequence


def backoff_seconds(
    failures: int, delays_seconds: Sequence[float], *, spread: float = 0.0
) -> float:
    """Return the pause after some failed attempts.

    Args:
        failures: number of failed attempts, from 1.
        delays_seconds: pauses after the first, second, ... failure; the last one for all that
            follow.
        spread: fraction of the pause by which it is lengthened at random, so that callers that
            failed together do not retry together.
    """
    delay = delays_seconds[min(failures, len(delays_seconds)) - 1]
    return delay * random.uniform(1.0, 1.0 + spread)  # noqa: S311 (no secret)
