"""The steps of a call, performed with httpx for programs on asyncio.

`performing.py` is its twin; disks are waited for in a thread.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

import httpx

from service.client.connection import lost_by, reply_of, request_arguments
from service.client.steps import (
    Close,
    Give,
    GivingSteps,
    Outcome,
    Read,
    Send,
    Step,
    Wait,
    Work,
)
from service.client.uploads import read_in_thread

T = TypeVar("T")
G = TypeVar("G")


async def perform(
    http: httpx.AsyncClient, steps: GivingSteps[G, T], given: Callable[[G], object] | None = None
) -> T:
    """Performs a call to its end; what it gives on its way goes to ``given``."""
    line = AsyncLine(http)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = None
            if not isinstance(step, Give):
                outcome = await line.perform(step)
            elif given is not None:
                given(step.value)
    finally:
        steps.close()
        await line.close()


async def perform_giving(
    http: httpx.AsyncClient, steps: GivingSteps[G, None]
) -> AsyncGenerator[G, None]:
    """Performs a call as far as its caller asks for what it gives."""
    line = AsyncLine(http)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            outcome = None
            if isinstance(step, Give):
                yield step.value
            else:
                outcome = await line.perform(step)
    finally:
        steps.close()
        await line.close()


class AsyncLine:
    """Performs one call's steps, and holds the answer that it reads piece by piece."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._held: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def perform(self, step: Step) -> Outcome:
        """Performs one step, and says what came of it."""
        try:
            match step:
                case Send():
                    return await self._send(step)
                case Read():
                    assert self._pieces is not None
                    return await anext(self._pieces, b"")
                case Close():
                    await self.close()
                case Wait():
                    await asyncio.sleep(step.seconds)
                case Work():
                    await asyncio.to_thread(step.action)
        except httpx.RequestError as error:
            return lost_by(error)
        return None

    async def close(self) -> None:
        """Lets go of the answer held open, if there is one."""
        if self._held is not None:
            await self._held.aclose()
            self._held = None

    async def _send(self, step: Send) -> Outcome:
        body = None if step.upload is None else read_in_thread(step.upload)
        request = self._http.build_request(**request_arguments(step), content=body)
        response = await self._http.send(request, stream=True)
        if step.streamed and response.is_success:
            self._held, self._pieces = response, response.aiter_bytes()
        else:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return reply_of(response)
