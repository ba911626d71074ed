"""What the device's thread is asked for, through its inbox."""

import concurrent.futures
import dataclasses

from service.engine.reports import Task


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """Let these tasks wait."""

    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Forget a recording's tasks."""

    recording_id: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """Warm the backend up."""

    done: concurrent.futures.Future[None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """Look around: something else has changed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """End."""


Command = Submit | Cancel | WarmUp | Wake | Stop
