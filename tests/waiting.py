"""Waits of tests for what another thread, another process or the network does.

They poll, and their ceiling is far above what a busy machine needs: reached, it means that the
condition never holds.
"""

import asyncio
import inspect
import time

_CEILING_SECONDS = 400.0
_POLLING_SECONDS = 0.01


async def until(condition, what="a condition"):
    """Wait until a condition holds, and return what it returned.

    Args:
        condition: a function, or one that returns an awaitable.
        what: the condition's name in the message of its failure.
    """
    deadline = time.monotonic() + _CEILING_SECONDS
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return holds
        assert time.monotonic() < deadline, f"{what} does not hold"
        await asyncio.sleep(_POLLING_SECONDS)


def wait_until(condition, what="a condition"):
    """Wait until a condition holds; blocks."""
    deadline = time.monotonic() + _CEILING_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not hold"
        time.sleep(_POLLING_SECONDS)
