"""The messages between the event loop and the device's thread.

`Command` values go to the device's thread through its inbox; it answers with an `IterationReport`
for every iteration in which something ended or the device's health changed.
"""

import concurrent.futures
import dataclasses

from mt3_model.notes.generated import ForbiddenTokens, GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment
from service.engine.segment_tasks import SegmentTask, TaskEnd


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentWork:
    """The payload of a task: what the device needs to generate one segment."""

    segment: Segment
    decoding: Decoding
    forbidden: ForbiddenTokens | None = None
    """Tokens that the segment must not have; None: all are allowed."""


Task = SegmentTask[SegmentWork]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """Add tasks to the scheduler."""

    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Drop all tasks of a recording."""

    recording_id: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """Warm the backend up."""

    done: concurrent.futures.Future[None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """Start another iteration without adding work."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """End the loop."""


Command = Submit | Cancel | WarmUp | Wake | Stop


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutcome:
    """The end of one task."""

    task: Task
    end: TaskEnd
    inserted: float | None = None
    """Time at which it got its slot, on the loop's clock; None if it never had one."""
    generated: GeneratedSegment | None = None
    """Its tokens; present exactly when it finished."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class IterationReport:
    """The result of one iteration of the device loop."""

    outcomes: tuple[TaskOutcome, ...]
    busy_seconds: float
    """Time the device worked since the last report."""
    health: bool | None = None
    """Whether the device works; None if that has not changed."""
