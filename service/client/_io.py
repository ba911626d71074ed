"""Sleeping and disk access, for both clients: the synchronous client calls them without `async_`.

Files are read and written in a thread by the asynchronous client, so that a slow disk or a pipe
does not stop the event loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from service.client._uploads import Body

T = TypeVar("T")
AsyncSleep = Callable[[float], Awaitable[None]]
Sleep = Callable[[float], None]


async def async_sleep(seconds: float) -> None:
    """Sleep without blocking the event loop."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


async def async_run(function: Callable[[], T]) -> T:
    """Call a function in a thread."""
    return await asyncio.to_thread(function)


def run(function: Callable[[], T]) -> T:
    """Call a function."""
    return function()


async def async_chunks(body: Body) -> AsyncIterator[bytes]:
    """Yield the chunks of a body, each read in a thread."""
    chunks = body.chunks()
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


def chunks(body: Body) -> Iterator[bytes]:
    """Yield the chunks of a body."""
    return body.chunks()
