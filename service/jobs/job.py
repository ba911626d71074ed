"""The data types of the batch API: a job, its items, and their states.

A job is one durable unit of work: recordings (items) that were submitted together with options.
Each item is transcribed on its own and fails on its own.

    queued      waits for its turn, or (an item) for its next attempt
    processing  an item: a worker has started it; a job: a worker has started one of its items
    succeeded   an item: its result is in the storage; a job: every item has ended and at least one
                of them succeeded (or there was none to fail)
    failed      an item: it cannot be processed, ``error`` says why; a job: every item that was not
                canceled failed
    canceled    canceled by its owner; existing results are kept

`ITEM_TRANSITIONS` and `JOB_TRANSITIONS` list all possible changes; the SQL of
`service/jobs/store/item_store.py` is conditioned on them.
"""

import contextlib
import dataclasses
import enum
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from mt3_model.notes.transcription import TranscriptionOptions, TranscriptionWarning
from service.webhooks.webhook import NewWebhook, Webhook

_JOB_ID = re.compile(r"job_[0-9a-f]{24}")
_TASK_ID = re.compile(r"(?P<job>job_[0-9a-f]+):(?P<number>[0-9]{6,}):(?P<run>[0-9]+)")


class JobState(enum.Enum):
    """A state, as the module's docstring describes it; the value is its name for users."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether the state changes only if a caller acts."""
        return self not in UNFINISHED


UNFINISHED = (JobState.QUEUED, JobState.PROCESSING)
_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})
ITEM_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.PROCESSING, JobState.CANCELED}),
    # Back to queued: an attempt failed for a temporary reason, or the worker was shut down
    # properly.
    JobState.PROCESSING: _ENDS | {JobState.QUEUED},
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),  # only when its owner says so
    JobState.CANCELED: frozenset(),
}
JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: _ENDS | {JobState.PROCESSING},
    JobState.PROCESSING: _ENDS,
    # Its failed items are retried.
    JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELED: frozenset(),
}


def predecessors(
    transitions: Mapping[JobState, frozenset[JobState]], state: JobState
) -> tuple[str, ...]:
    """Return the values of the states from which ``state`` may be entered."""
    return tuple(before.value for before, after in transitions.items() if state in after)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The reason why an item, or a job, failed."""

    code: str
    """Stable, machine-readable code; those of unreadable audio are the HTTP API's."""
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemSource:
    """The location of an item's recording."""

    kind: Literal["upload", "url", "object"]
    """``upload``: received by us, in our storage; ``url``: to be fetched; ``object``: in a store of
    the caller's."""
    reference: str
    """The storage's key, or the URL of the request."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewItem:
    """A recording to be transcribed."""

    source: ItemSource
    name: str | None = None
    """The owner's name of the recording (a file name), returned as sent and never used as a
    path."""
    audio_seconds: float | None = None
    """Length in seconds, if it is known in advance."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job to be submitted."""

    job_id: str
    """Created by `new_job_id` before the uploads are stored, because it is part of their keys."""
    tenant: str
    """The caller's name: the owner of the job, whose turns it uses."""
    items: tuple[NewItem, ...]
    """At least one."""
    options: TranscriptionOptions
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """The caller's own JSON object, returned as sent."""
    response_format: str | None = None
    """The format of results that its owner requested, if any."""
    idempotency_key: str | None = None
    body_hash: str | None = None
    """The hash of the request, which detects the same key with another body."""
    retention_seconds: float | None = None
    """Retention after its end, in seconds; None for the deployment's default."""
    webhook: NewWebhook | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress of a job."""

    items_total: int
    items_succeeded: int
    items_failed: int
    items_canceled: int
    items_processing: int
    audio_seconds_done: float
    """The audio of the items that succeeded."""
    audio_seconds_total: float | None
    """The audio of all items; None until the length of each is known, which is when it is opened.
    Items that failed or were canceled before that count as 0."""

    @property
    def items_done(self) -> int:
        """Number of items that have ended, in any state."""
        return self.items_succeeded + self.items_failed + self.items_canceled


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as it is now. Times are seconds since 1970 (UTC)."""

    job_id: str
    tenant: str
    state: JobState
    progress: Progress
    options: TranscriptionOptions
    metadata: Mapping[str, Any]
    created_at: float
    """Time of submission."""
    started_at: float | None
    """Time when a worker first started one of its items."""
    ended_at: float | None
    """Time when it entered its final state."""
    expires_at: float
    """Time when all its data is deleted. A job that has not ended by then is done first; when it
    ends, the time becomes its end plus its retention."""
    error: Failure | None
    """The error of the first failed item of a failed job."""
    queue_position: int | None
    """Number of the owner's items before its first waiting one; None once the job has started.
    Owners take turns, so items of others do not count."""
    response_format: str | None = None
    """The format of results that the owner requested, if any."""
    webhook: Webhook | None = None
    is_metadata_damaged: bool = False
    """Whether the stored metadata is not JSON; its unreadable parts are left out or None."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An item as it is now. Times are seconds since 1970 (UTC)."""

    job_id: str
    number: int
    """Counted from 0, in the order of submission."""
    source: ItemSource
    name: str | None
    state: JobState
    attempts: int
    """Number of times that a worker started it."""
    audio_seconds: float | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    error: Failure | None
    """The reason of the failure; for an item that is retried, that of the last attempt."""
    warnings: tuple[TranscriptionWarning, ...]

    @property
    def result_key(self) -> str:
        """Key of its result, once it has succeeded."""
        return result_key(self.job_id, self.number)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The outcome of an item that was finished."""

    audio_seconds: float
    warnings: tuple[TranscriptionWarning, ...]


async def _ignore_length(audio_seconds: float) -> None:
    """Ignore the length of a recording."""
    del audio_seconds


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemHooks:
    """Callbacks that the queue hands to an item's handler; by default they do nothing."""

    on_length: Callable[[float], Awaitable[None]] = _ignore_length
    """Receives the recording's length in seconds as soon as it is open."""
    hold_device: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
    """Waits for a permit to use the device and holds it. It is entered when the recording is on
    disk, so that a slow download does not hold a permit."""


ItemHandler = Callable[[Item, Job, ItemHooks], Awaitable[Outcome]]
"""A function that processes one item; raises `ItemError` if it cannot. It may be canceled at any
await, and may be called again for a finished item if the process ended before that was recorded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemRun:
    """One run of an item, which is one task of the task queue."""

    job_id: str
    number: int
    run: int
    """Counts from 0; raised whenever the item is enqueued again."""

    @property
    def task_id(self) -> str:
        """The id of the run's task."""
        return f"{self.job_id}:{self.number:06d}:{self.run}"


def parse_item_run(task_id: str) -> ItemRun:
    """Parse an id that `ItemRun.task_id` returned."""
    match = _TASK_ID.fullmatch(task_id)
    assert match, task_id
    return ItemRun(job_id=match["job"], number=int(match["number"]), run=int(match["run"]))


def new_job_id() -> str:
    """Make a job's id, which cannot be guessed."""
    return f"job_{secrets.token_hex(12)}"


def is_job_id(text: str) -> bool:
    """Return whether a text can be a job's id."""
    return _JOB_ID.fullmatch(text) is not None


def job_prefix(job_id: str) -> str:
    """Return the prefix of all objects of a job."""
    return f"jobs/{job_id}"


def input_key(job_id: str, number: int) -> str:
    """Return the key of an item's uploaded recording."""
    return f"{job_prefix(job_id)}/inputs/{number:06d}"


def result_key(job_id: str, number: int) -> str:
    """Return the key of an item's result."""
    return f"{job_prefix(job_id)}/results/{number:06d}"
