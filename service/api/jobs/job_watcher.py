"""Polls all followed jobs with one query, and wakes the followers of those that changed.

Jobs with a running item are polled twice a second; waiting and ended jobs every two seconds,
because a waiting job does not change until a worker starts it. A follower wakes when the
state or the counts of its job have changed, and not at every poll.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from service.errors import JobsUnavailableError
from service.jobs.job import Job, JobState
from service.observability.logging import log_event

if TYPE_CHECKING:
    # For the type checker only: a server without jobs starts without SQLAlchemy and DBOS.
    from service.jobs.running.job_queue import JobQueue

POLLING_SECONDS = 0.5
_WAITING_ROUNDS = 4
"""A waiting job is polled once in this number of rounds."""
_logger = logging.getLogger(__name__)


class JobWatch:
    """One followed job, as it was last read."""

    def __init__(self, job: Job) -> None:
        self.latest: Job | None = job
        """None after the job was deleted or has expired."""
        self.followers = 0
        self._changed = asyncio.Event()
        self._changed_at = time.monotonic()

    @property
    def unchanged_seconds(self) -> float:
        """Seconds since the state or the counts last changed."""
        return time.monotonic() - self._changed_at

    def update(self, job: Job | None) -> None:
        """Store the job as it is now and wake its followers, if it has changed."""
        before = self.latest
        if job is None or before is None or _state_and_counts(job) != _state_and_counts(before):
            self.latest = job
            self._changed_at = time.monotonic()
            self.wake()

    def wake(self) -> None:
        """End every wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait for the next change.

        Args:
            seconds: the longest wait.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


class JobWatcher:
    """The followed jobs of one server. Use it from one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, JobWatch] = {}
        self._polling: asyncio.Task[None] | None = None

    def wake_all(self) -> None:
        """End every wait for a change."""
        for watch in self._watches.values():
            watch.wake()

    @contextlib.contextmanager
    def watching(self, queue: "JobQueue", job: Job) -> Generator[JobWatch]:
        """Poll a job for as long as the context lasts.

        Args:
            queue: the queue that holds the job; the same for all jobs.
            job: the job as it is now.
        """
        watch = self._watches.get(job.job_id)
        if watch is None:
            watch = self._watches[job.job_id] = JobWatch(job)
        else:
            watch.update(job)
        watch.followers += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(queue))
        try:
            yield watch
        finally:
            watch.followers -= 1
            if not watch.followers:
                del self._watches[job.job_id]
            if not self._watches:
                self._polling.cancel()
                self._polling = None

    async def _poll(self, queue: "JobQueue") -> None:
        round_number = 0
        while True:
            await asyncio.sleep(POLLING_SECONDS)
            round_number += 1
            polled = [
                job
                for watch in self._watches.values()
                if (job := watch.latest) is not None
                and (job.state is JobState.PROCESSING or round_number % _WAITING_ROUNDS == 0)
            ]
            if not polled:
                continue
            try:
                found = await queue.refresh(polled)
            except JobsUnavailableError:
                continue  # the streams continue once the database is back
            except Exception as error:  # noqa: BLE001 (the outer edge of a task, which tries again)
                log_event(_logger, "jobs_not_watched", level=logging.ERROR, error=error)
                continue
            for before, job in zip(polled, found, strict=True):
                watch = self._watches.get(before.job_id)
                # A new follower may have brought a later state meanwhile.
                if watch is not None and watch.latest is before:
                    watch.update(job)


def _state_and_counts(job: Job) -> tuple[object, ...]:
    """Return what wakes followers. The position in the queue does not: it changes all the time."""
    return job.state, job.progress, job.started_at, job.ended_at
