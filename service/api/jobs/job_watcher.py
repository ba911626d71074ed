"""Looks at all jobs that somebody follows, with one query for all of them, and says what changed.

Twice a second those are looked at of which an item is in work, every two seconds those that wait
and those that have ended: nothing of a waiting job changes until a worker begins with it. Whoever
follows a job is woken when its state or its counts have changed, and not by every look.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Generator

from service.errors import JobsUnavailableError
from service.jobs.job import Job, JobState
from service.jobs.queue import JobQueue
from service.observability.logging import log_event

POLLING_SECONDS = 0.5
_WAITING_TURNS = 4
"""A job that waits is looked at once in so many turns."""
_logger = logging.getLogger(__name__)


class JobWatch:
    """One job that is followed, as it was last seen."""

    def __init__(self, job: Job) -> None:
        self.latest: Job | None = job
        """None: deleted, or expired."""
        self.followers = 0
        self._changed = asyncio.Event()
        self._changed_at = time.monotonic()

    @property
    def unchanged_seconds(self) -> float:
        """How long its state and counts have been the same."""
        return time.monotonic() - self._changed_at

    def take(self, job: Job | None) -> None:
        """Takes the job as it is now, if it has changed, and wakes its followers."""
        before = self.latest
        if job is None or before is None or _facts(job) != _facts(before):
            self.latest = job
            self._changed_at = time.monotonic()
            self.wake()

    def wake(self) -> None:
        """Ends all waiting for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Waits for the next change, and at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


class JobWatcher:
    """The watches of one server. To be used from one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, JobWatch] = {}
        self._looking: asyncio.Task[None] | None = None

    def wake_all(self) -> None:
        """Ends all waiting for changes."""
        for watch in self._watches.values():
            watch.wake()

    @contextlib.contextmanager
    def watching(self, queue: JobQueue, job: Job) -> Generator[JobWatch]:
        """Has a job looked at for as long as the context lasts.

        Args:
            queue: Where it is; the same for all jobs.
            job: As it is now.
        """
        watch = self._watches.get(job.job_id)
        if watch is None:
            watch = self._watches[job.job_id] = JobWatch(job)
        else:
            watch.take(job)
        watch.followers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(queue))
        try:
            yield watch
        finally:
            watch.followers -= 1
            if not watch.followers:
                del self._watches[job.job_id]
            if not self._watches:
                self._looking.cancel()
                self._looking = None

    async def _look(self, queue: JobQueue) -> None:
        turn = 0
        while True:
            await asyncio.sleep(POLLING_SECONDS)
            turn += 1
            looked_at = [
                job
                for watch in self._watches.values()
                if (job := watch.latest) is not None
                and (job.state is JobState.PROCESSING or turn % _WAITING_TURNS == 0)
            ]
            if not looked_at:
                continue
            try:
                found = await queue.refresh(looked_at)
            except JobsUnavailableError:
                continue  # it comes back, and the streams go on
            except Exception as error:  # noqa: BLE001 (the outer edge of a task: tried again)
                log_event(_logger, "jobs_not_watched", level=logging.ERROR, error=error)
                continue
            for before, job in zip(looked_at, found, strict=True):
                watch = self._watches.get(before.job_id)
                # One that began to be followed meanwhile has brought a later state with it.
                if watch is not None and watch.latest is before:
                    watch.take(job)


def _facts(job: Job) -> tuple[object, ...]:
    """What followers are told of; not the position in the queue."""
    return job.state, job.progress, job.started_at, job.ended_at
