"""What the device's thread tells the engine: how tasks ended, and whether the device works."""

import dataclasses

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment
from service.engine.requests import SegmentTask, TaskEnd


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentWork:
    """What the device needs to know of a task."""

    segment: Segment
    decoding: Decoding


Task = SegmentTask[SegmentWork]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A task's end."""

    task: Task
    end: TaskEnd
    inserted: float | None = None
    """When it was given its slot, on the loop's clock; absent where it never had one."""
    generated: GeneratedSegment | None = None
    """Its tokens, where it is finished."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What happened in a visit."""

    outcomes: tuple[Outcome, ...]
    busy_seconds: float
    """Time that the device worked since the last report."""
    health: bool | None = None
    """Whether the device works; absent where that has not changed."""
