"""The steps of a call, performed with httpx for programs that wait.

`async_performing.py` is its twin.
"""

import time
from collections.abc import Callable, Generator, Iterator
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

T = TypeVar("T")
G = TypeVar("G")


def perform(
    http: httpx.Client, steps: GivingSteps[G, T], given: Callable[[G], object] | None = None
) -> T:
    """Performs a call to its end; what it gives on its way goes to ``given``."""
    line = Line(http)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = None
            if not isinstance(step, Give):
                outcome = line.perform(step)
            elif given is not None:
                given(step.value)
    finally:
        # What the call holds, a file half written, it lets go of now and not when it is collected.
        steps.close()
        line.close()


def perform_giving(http: httpx.Client, steps: GivingSteps[G, None]) -> Generator[G, None, None]:
    """Performs a call as far as its caller asks for what it gives."""
    line = Line(http)
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
                outcome = line.perform(step)
    finally:
        steps.close()
        line.close()


class Line:
    """Performs one call's steps, and holds the answer that it reads piece by piece."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._held: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def perform(self, step: Step) -> Outcome:
        """Performs one step, and says what came of it."""
        try:
            match step:
                case Send():
                    return self._send(step)
                case Read():
                    return next(self._pieces, b"")
                case Close():
                    self.close()
                case Wait():
                    time.sleep(step.seconds)
                case Work():
                    step.action()
        except httpx.RequestError as error:
            return lost_by(error)
        return None

    def close(self) -> None:
        """Lets go of the answer held open, if there is one."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _send(self, step: Send) -> Outcome:
        body = None if step.upload is None else step.upload.pieces()
        request = self._http.build_request(**request_arguments(step), content=body)
        response = self._http.send(request, stream=True)
        if step.streamed and response.is_success:
            self._held, self._pieces = response, response.iter_bytes()
        else:
            try:
                response.read()
            finally:
                response.close()
        return reply_of(response)
