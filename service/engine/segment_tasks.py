"""What waits and runs in the engine: plain data, without the device and without the segment's type.

A task is one segment of one recording. It waits in the scheduler, then runs in a slot, and ends
once in one of the ways of `TaskEnd`; a cancelled task just disappears, because nobody asks for it
any more. The segment itself is an opaque payload, so that the scheduler can be tested with numbers.
"""

import dataclasses
import enum
from typing import Generic, TypeVar

PayloadT = TypeVar("PayloadT")

ANONYMOUS_CALLER = "anonymous"
"""Whose the tasks are where nobody says."""


class TaskEnd(enum.Enum):
    """How a task ended."""

    FINISHED = "finished"
    """Its tokens are there."""
    EXPIRED = "expired"
    """Its deadline passed while it waited or ran."""
    FAILED = "failed"
    """The device failed while it ran, and again when it was tried again; or is given up."""
    CLOSED = "closed"
    """The engine was closed first."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTask(Generic[PayloadT]):
    """One segment waiting or running."""

    recording_id: int
    """Whose it is: a caller's recordings take turns."""
    index: int
    """Its place in the recording; with ``recording_id`` it names the task."""
    payload: PayloadT
    """What the device needs to know; the scheduler does not look."""
    caller: str = ANONYMOUS_CALLER
    """Who sent the recording: callers take turns. All tasks of a recording have the same."""
    deadline: float | None = None
    """Time after which nobody wants it, on the clock of whoever drives the scheduler."""
    submitted: float = 0.0
    """Time from which it has waited, on the same clock."""
    attempt: int = 0
    """How often it has been tried in vain: 0 or 1."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Assignment(Generic[PayloadT]):
    """A task and the slot that it was given."""

    slot: int
    task: SegmentTask[PayloadT]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dropped(Generic[PayloadT]):
    """Tasks that left before their end."""

    tasks: tuple[SegmentTask[PayloadT], ...]
    """All of them, those that waited and those that ran."""
    slots: tuple[int, ...]
    """Slots that became free: to be released on the device before they are used again."""
