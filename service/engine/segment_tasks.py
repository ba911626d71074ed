"""Tasks of the engine: plain data, independent of the device and of the segment's type.

A task is one segment of one recording. It waits in the scheduler, runs in a slot, and ends once in
one of the ways of `TaskEnd`; a canceled task is dropped without an end. The segment is an opaque
payload, so that tests can schedule numbers.
"""

import dataclasses
import enum
from typing import Generic, TypeVar

PayloadT = TypeVar("PayloadT")

ANONYMOUS_CALLER = "anonymous"
"""The caller of tasks for which none is named."""


class TaskEnd(enum.Enum):
    """The way a task ended."""

    FINISHED = "finished"
    """Its tokens were generated."""
    FAILED = "failed"
    """The device failed twice while the task ran, or is out of service."""
    CLOSED = "closed"
    """The engine was closed first."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTask(Generic[PayloadT]):
    """One segment, waiting or running."""

    recording_id: int
    """The recording it belongs to."""
    index: int
    """Its position in the recording; with ``recording_id`` it identifies the task."""
    payload: PayloadT
    """Input of the device; opaque to the scheduler."""
    caller: str = ANONYMOUS_CALLER
    """The sender of the recording; the same for all its tasks."""
    submitted: float = 0.0
    """Time of submission, on the clock of the scheduler's driver."""
    attempt: int = 0
    """Failed attempts so far: 0 or 1."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Assignment(Generic[PayloadT]):
    """A task and its slot."""

    slot: int
    task: SegmentTask[PayloadT]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dropped(Generic[PayloadT]):
    """Tasks removed before they finished."""

    tasks: tuple[SegmentTask[PayloadT], ...]
    """The removed tasks, both waiting and running."""
    slots: tuple[int, ...]
    """The slots that became free, to be released on the device before they are used again."""
