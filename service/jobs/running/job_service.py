"""The jobs of one process, from start to shutdown.

    open    opens the database; jobs can be submitted and read while the model loads
    start   counts the backlog for metrics, and sweeps expired jobs
    work    runs items, once the model is loaded
    stop    starts no more items, lets running ones finish within the grace period, returns the rest

Every process of a deployment tries to count and to sweep, but only one at a time succeeds, so both
continue if any process dies. Failures are logged and retried: a database that is unavailable for
a minute must not end a server.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable

from service.errors import JobsUnavailableError, StorageError
from service.fetching.object_fetcher import ObjectFetcher
from service.fetching.url_fetcher import FetchLimits, UrlFetcher
from service.jobs.documents import describe_job
from service.jobs.job import ItemHandler
from service.jobs.running.job_queue import JobQueue, QueueOptions
from service.jobs.running.job_worker import WorkerOptions
from service.jobs.store.job_database import open_job_database
from service.jobs.store.job_queries import load_job
from service.jobs.store.storage_binding import StorageBinding
from service.observability.logging import log_event
from service.observability.metrics import Metrics
from service.storage.objects import Objects, open_objects
from service.webhooks.sender import WebhookSender

COUNT_SECONDS = 2.0
"""Time between two counts of the backlog, for all processes together: half of Prometheus's shortest
common interval."""
SWEEP_SECONDS = 60.0
"""Time between two sweeps, so how late an expired job may be deleted."""
_OPEN_WAIT_SECONDS = 60.0
"""Longest wait at the start for a database, which may be starting too."""
_RETRY_SECONDS = 5.0
"""Time between two attempts to start running items."""
_TRIES = {"delivered": "delivered", "tried": "retried", "given_up": "failed"}
"""The metric's label of a webhook attempt's result."""
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fetchers:
    """The downloaders of recordings that a caller names instead of uploading them."""

    url: UrlFetcher
    object: ObjectFetcher


class JobService:
    """The queue and the storage of one process, with its periodic work."""

    def __init__(
        self,
        queue: JobQueue,
        objects: Objects,
        fetchers: Fetchers,
        webhooks: WebhookSender,
        metrics: Metrics,
    ) -> None:
        """Prepare the service; `open_job_service` calls this.

        Args:
            queue: the queue on its open database.
            objects: the storage of recordings and results.
            fetchers: download recordings that a caller names instead of uploading them.
            webhooks: the queue's sender of webhooks.
            metrics: the server's metrics registry.
        """
        self.queue = queue
        self.objects = objects
        self.fetchers = fetchers
        self.webhooks = webhooks
        self._metrics = metrics
        self._repeated: list[asyncio.Task[None]] = []
        self._taken_over = 0
        self._draining_since: float | None = None

    def start(self) -> None:
        """Start to count the backlog, to sweep and to send webhooks; on the event loop."""
        if not self._repeated:
            self.queue.start_webhooks()
            self._repeated = [
                asyncio.create_task(_repeat(self._count, COUNT_SECONDS, "jobs_not_counted")),
                asyncio.create_task(_repeat(self.sweep, SWEEP_SECONDS, "jobs_not_swept")),
            ]

    def work(self, handler: ItemHandler, options: WorkerOptions) -> None:
        """Start to run items, as soon as the database permits it; on the event loop."""
        self._repeated.append(asyncio.create_task(self._start_work(handler, options)))

    async def _start_work(self, handler: ItemHandler, options: WorkerOptions) -> None:
        while self._draining_since is None:
            try:
                await self.queue.work(handler, options)
            except Exception as error:  # noqa: BLE001 (any error is logged and retried)
                log_event(_logger, "worker_not_begun", level=logging.ERROR, error=error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                log_event(_logger, "worker_began", items=options.concurrency)
                return

    @property
    def has_items_running(self) -> bool:
        """Whether items are running in this process."""
        return self.queue.has_items_running

    @property
    def fault(self) -> str | None:
        """The reason why jobs are unavailable until an operator acts, or None."""
        faults = self.queue.faults
        if faults["database"] is not None:
            return "their database is damaged; the server's log has details"
        if faults["storage"] is not None:
            return "their storage belongs to another database; the server's log has details"
        return None

    def begin_draining(self) -> None:
        """Start no more items; running ones continue. May be called from a signal handler."""
        if self._draining_since is None:
            self._draining_since = time.monotonic()
            self.queue.stop_claiming()

    async def stop(self, *, grace_seconds: float) -> None:
        """Wait for running items, return the others to the queue, and close.

        Args:
            grace_seconds: time for running items, counted from the beginning of draining.
        """
        self.begin_draining()
        for task in self._repeated:
            task.cancel()
        await asyncio.gather(*self._repeated, return_exceptions=True)
        assert self._draining_since is not None
        passed = time.monotonic() - self._draining_since
        await self.queue.close(grace_seconds=max(grace_seconds - passed, 0.0))

    async def _count(self) -> None:
        taken_over = self.queue.taken_over
        self._metrics.job_takeovers.inc(taken_over - self._taken_over)
        self._taken_over = taken_over
        try:
            backlog = await self.queue.backlog(max_age_seconds=COUNT_SECONDS)
        finally:
            for kind, fault in self.queue.faults.items():
                self._metrics.job_faults.labels(kind).set(fault is not None)
        self._metrics.job_items.labels("queued").set(backlog.queued_items)
        self._metrics.job_items.labels("processing").set(backlog.processing_items)
        self._metrics.job_queue_age_seconds.set(backlog.oldest_queued_seconds)

    async def sweep(self, now: float | None = None) -> None:
        """Sweep the queue once, and count what was removed.

        Args:
            now: seconds since 1970; None: the queue's clock.
        """
        swept = await self.queue.sweep(now)
        self._metrics.swept.labels("jobs").inc(swept.jobs)
        self._metrics.swept.labels("objects").inc(swept.objects)
        self._metrics.swept.labels("orphans").inc(swept.orphans)
        self._metrics.swept.labels("mended").inc(swept.mended)


def open_job_service(
    *,
    database_url: str,
    storage_url: str,
    options: QueueOptions,
    fetchers: Fetchers,
    webhook_secret: str | None,
    allow_private_urls: bool,
    adopt_storage: bool,
    metrics: Metrics,
) -> JobService:
    """Open the storage and the database; blocks.

    Args:
        database_url: ``sqlite:////path`` or ``postgresql://...``.
        storage_url: the storage's URL, as for `open_objects`.
        options: the deployment's options for jobs.
        fetchers: download recordings that a caller names instead of uploading them.
        webhook_secret: signs the webhooks of jobs that have no secret.
        allow_private_urls: whether webhooks may go to private networks.
        adopt_storage: whether to use this storage with this database, whatever it holds.
        metrics: the server's metrics registry.

    Raises:
        DatabaseInUseError: another process has the SQLite file open.
        JobError: the URL names no usable database.
        JobsUnavailableError: the database could not be reached for a minute.
        StorageError: the storage cannot be used.
        StorageMismatchError: the storage belongs to another database.
    """
    objects = open_objects(storage_url)
    binding = StorageBinding(objects, storage_name=storage_url, is_adopted=adopt_storage)
    jobs = open_job_database(database_url, binding=binding, wait_seconds=_OPEN_WAIT_SECONDS)
    webhooks = WebhookSender(
        lambda connection, job_id: describe_job(load_job(connection, job_id)),
        secret=webhook_secret,
        allow_private=allow_private_urls,
        on_try=lambda outcome: metrics.webhook_deliveries.labels(_TRIES[outcome]).inc(),
    )
    queue = JobQueue(
        jobs,
        objects,
        options=options,
        webhooks=webhooks,
        on_outcome=lambda outcome: metrics.job_items_total.labels(outcome).inc(),
    )
    return JobService(queue, objects, fetchers, webhooks, metrics)


def prepare_fetchers(
    *,
    max_bytes: int,
    min_bytes_per_second: float,
    total_seconds: float,
    allow_private_urls: bool,
    allowed_object_urls: str,
) -> Fetchers:
    """Create the fetchers of recordings given by URL or object.

    Args:
        max_bytes: the largest recording.
        min_bytes_per_second: the lowest mean rate of one recording; 0 for no limit.
        total_seconds: the longest time for one recording.
        allow_private_urls: whether to fetch from private networks.
        allowed_object_urls: locations, separated by commas, from which objects may be read.

    Raises:
        StorageError: one of the locations is malformed.
    """
    return Fetchers(
        url=UrlFetcher(
            FetchLimits(
                max_bytes=max_bytes,
                total_seconds=total_seconds,
                min_bytes_per_second=min_bytes_per_second,
            ),
            allow_private=allow_private_urls,
        ),
        object=ObjectFetcher(
            allowed=allowed_object_urls,
            max_bytes=max_bytes,
            total_seconds=total_seconds,
            min_bytes_per_second=min_bytes_per_second,
        ),
    )


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float, failure: str) -> None:
    while True:
        try:
            await work()
        except (JobsUnavailableError, StorageError) as error:
            log_event(_logger, failure, level=logging.WARNING, reason=str(error))
        except Exception as error:  # noqa: BLE001 (the outer edge of a task: logged, tried again)
            log_event(_logger, failure, level=logging.ERROR, error=error)
        await asyncio.sleep(seconds)
