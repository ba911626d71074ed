"""What a call asks of the network, as values: the seam between its logic and its IO.

A call is a generator (`calls.py`, `streaming.py`) that yields these steps and is sent what came of
each. The synchronous and the asynchronous client each perform steps in a few lines, and everything
else, retries, resuming and reading, is written once and tested without a socket.
"""

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Generic, TypeVar

from service.client.uploads import Body

T = TypeVar("T")
G = TypeVar("G")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """Send a request; what comes of it is a `Reply` or a `Lost`."""

    method: str
    path: str
    """Below the server's address."""
    read_timeout: float | None
    """Seconds of silence after which the answer counts as lost; none: for ever."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    upload: Body | None = None
    """The body."""
    streamed: bool = False
    """Leave the body of a success to `Read`; one answer at a time is held open so."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Read more of the answer held open: bytes, none at its end, or a `Lost`."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Close:
    """Let go of the answer held open, if there is one."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Do nothing for some seconds."""

    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Do something of this machine's that may make one wait: write to a disk."""

    action: Callable[[], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Give(Generic[G]):
    """Give the caller something before the call has ended: an event, an entry of a list."""

    value: G


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """Found by names in lower case."""
    body: bytes
    """Empty where it is held open."""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, 15


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """No answer, or not the whole of it."""

    reason: str
    may_try_again: bool = True
    """Whether another attempt could end differently."""
    broke_off: bool = False
    """Whether there was a connection, and it ended before its answer."""


Step = Send | Read | Close | Wait | Work
Outcome = Reply | Lost | bytes | None
Steps = Generator[Step, Outcome, T]
"""A call on its way to a result."""
GivingSteps = Generator[Step | Give[G], Outcome, T]
"""A call that gives something on its way."""


def send(step: Send) -> Steps[Reply | Lost]:
    """Sends, and says what came of it."""
    outcome = yield step
    assert isinstance(outcome, Reply | Lost)
    return outcome


def read() -> Steps[bytes | Lost]:
    """Reads, and says what came of it."""
    outcome = yield Read()
    assert isinstance(outcome, bytes | Lost)
    return outcome


def quietly(steps: GivingSteps[G, T]) -> Steps[T]:
    """Lets go of what a call gives on its way."""
    outcome: Outcome = None
    try:
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = None if isinstance(step, Give) else (yield step)
    finally:
        steps.close()
