"""Declares every metric of the service; `/metrics` writes them for Prometheus.

Each server has its own `Metrics` (no global registry, so that tests do not share counts). Names
carry their unit; counters end in ``_total``. Labels have few values, all from this code: a route's
pattern, not its path, and never input from a client. The README beside this file lists all metrics;
tests check that each is documented and changes.
"""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)
from prometheus_client.openmetrics import exposition as openmetrics

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
HTTP_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OTHER_METHOD = "other"
"""Label of any method outside ``HTTP_METHODS``: clients can invent methods."""
UNKNOWN_ROUTE = "unknown"
"""Label of a path without a route."""
NO_STATUS = "none"
"""Label of requests that ended without a response because the client disconnected."""
MODEL_STATES = ("loading", "warming", "ready", "draining", "failed")
SEGMENT_OUTCOMES = ("finished", "failed", "closed", "canceled")
TRANSCRIPTION_OUTCOMES = ("finished", "failed", "canceled")
JOB_ITEM_STATES = ("queued", "processing")
JOB_ITEM_OUTCOMES = ("succeeded", "failed", "retried", "canceled")
"""Outcomes of one attempt at an item by this process; ``retried``: it waits for another attempt."""
WEBHOOK_OUTCOMES = ("delivered", "retried", "failed")
"""Outcomes of one attempt at a delivery; ``failed``: there is no further attempt."""
JOB_FAULT_KINDS = ("database", "storage", "sweep")
"""Faults that need an operator: damaged database, wrong storage, refused sweep."""
SWEPT_KINDS = ("jobs", "objects", "orphans", "mended")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
disable_created_metrics()  # creation times would double the number of series
_TIMES_REAL_TIME = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The metrics registry of one server."""

    def __init__(self) -> None:
        """Declare all metrics, with every value of a closed label present from the start."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._declare_engine()
        self._declare_transcriptions()
        self._declare_jobs()
        self._declare_http()

    def write(self, accept: str = "") -> tuple[bytes, str]:
        """Write all metrics.

        Args:
            accept: the request's ``Accept`` header: OpenMetrics if it is named, otherwise
                Prometheus's text format.

        Returns:
            The text and its media type.
        """
        named = {media_range.partition(";")[0].strip() for media_range in accept.lower().split(",")}
        if OPENMETRICS_TYPE.partition(";")[0] in named:
            return openmetrics.generate_latest(self.registry), OPENMETRICS_TYPE
        return exposition.generate_latest(self.registry), TEXT_TYPE

    def set_state(self, state: str) -> None:
        """Set which of ``MODEL_STATES`` the model is in."""
        for known in MODEL_STATES:
            self.model_state.labels(known).set(known == state)

    def _declare_engine(self) -> None:
        self.build = self._info("mt3_build", "Code version, model, checkpoint and precision")
        self.model_state = self._gauge("mt3_model_state", "1 for the current state", ["state"])
        self.set_state("loading")
        self.load_seconds = self._gauge(
            "mt3_model_load_seconds", "Seconds spent loading the checkpoint"
        )
        self.warm_up_seconds = self._gauge(
            "mt3_warm_up_seconds", "Seconds spent compiling and warming up"
        )
        self.engine_healthy = self._gauge(
            "mt3_engine_healthy", "0 while the device keeps failing, or hangs"
        )
        self.engine_healthy.set(1)
        self.queue_audio_seconds = self._gauge(
            "mt3_queue_audio_seconds", "Audio admitted and not yet transcribed"
        )
        self.queue_segments = self._gauge("mt3_queue_segments", "Segments waiting for a slot")
        self.queue_age_seconds = self._gauge(
            "mt3_queue_age_seconds", "Waiting time of the oldest segment in the queue"
        )
        self.segment_queue_seconds = self._histogram(
            "mt3_segment_queue_seconds", "From a segment's submission to its slot", _SECONDS
        )
        self.slots = self._gauge("mt3_slots", "Segments that can generate at once")
        self.slots_used = self._gauge("mt3_slots_used", "Segments that generate now")
        self.batch_fill_ratio = self._histogram(
            "mt3_batch_fill_ratio",
            "Share of slots in use, at each iteration of the device loop",
            _RATIOS,
        )
        self.iteration_seconds = self._histogram(
            "mt3_visit_seconds",
            "One iteration of the device loop: encode, insert, some steps",
            _SECONDS,
        )
        self.busy_seconds = self._counter("mt3_device_busy_seconds_total", "Time the device works")
        self.segments = self._counter("mt3_segments_total", "Segments by outcome", ["outcome"])
        for outcome in SEGMENT_OUTCOMES:
            self.segments.labels(outcome)
        self.tokens = self._counter("mt3_tokens_total", "Tokens generated, of finished segments")
        self.audio_seconds = self._counter(
            "mt3_audio_seconds_total", "Audio transcribed, of finished segments"
        )
        self.engine_failures = self._counter(
            "mt3_engine_failures_total", "Device calls that raised, or returned NaN", ["kind"]
        )
        for kind in ("exception", "not_a_number", "hang"):
            self.engine_failures.labels(kind)
        self.segment_retries = self._counter(
            "mt3_segment_retries_total", "Segments retried after a device failure"
        )

    def _declare_transcriptions(self) -> None:
        self.open_recordings = self._gauge("mt3_open_recordings", "Recordings being transcribed")
        self.transcriptions = self._counter(
            "mt3_transcriptions_total", "Transcriptions by outcome", ["outcome"]
        )
        for outcome in TRANSCRIPTION_OUTCOMES:
            self.transcriptions.labels(outcome)
        self.first_note_seconds = self._histogram(
            "mt3_first_note_seconds", "From a recording's arrival to its first notes", _SECONDS
        )
        self.transcription_seconds = self._histogram(
            "mt3_transcription_seconds", "From a recording's arrival to its last note", _SECONDS
        )
        self.real_time_factor = self._histogram(
            "mt3_real_time_factor", "Audio seconds per second of a transcription", _TIMES_REAL_TIME
        )

    def _declare_jobs(self) -> None:
        self.job_items = self._gauge(
            "mt3_job_items", "Items of unfinished jobs in the whole deployment", ["state"]
        )
        for state in JOB_ITEM_STATES:
            self.job_items.labels(state)
        self.job_queue_age_seconds = self._gauge(
            "mt3_job_queue_age_seconds",
            "How long the oldest waiting item has been ready to start; 0 without one",
        )
        self.job_items_total = self._counter(
            "mt3_job_items_ended_total",
            "Attempts at items by this process, by outcome",
            ["outcome"],
        )
        for outcome in JOB_ITEM_OUTCOMES:
            self.job_items_total.labels(outcome)
        self.job_takeovers = self._counter(
            "mt3_job_takeovers_total",
            "Items of dead workers that this process returned to the queue",
        )
        self.webhook_deliveries = self._counter(
            "mt3_webhook_deliveries_total", "Attempts at webhooks, by outcome", ["outcome"]
        )
        for outcome in WEBHOOK_OUTCOMES:
            self.webhook_deliveries.labels(outcome)
        self.job_faults = self._gauge(
            "mt3_job_fault", "1 while the jobs' database or storage needs an operator", ["kind"]
        )
        for kind in JOB_FAULT_KINDS:
            self.job_faults.labels(kind)
        self.swept = self._counter(
            "mt3_swept_total", "Jobs and objects that the sweep removed or repaired", ["kind"]
        )
        for kind in SWEPT_KINDS:
            self.swept.labels(kind)

    def _declare_http(self) -> None:
        self.requests = self._counter(
            "mt3_http_requests_total", "Completed responses", ["method", "route", "status"]
        )
        self.request_seconds = self._histogram(
            "mt3_http_request_seconds",
            "From a request's head to the end of its response",
            _SECONDS,
            ["route"],
        )
        self.requests_in_progress = self._gauge(
            "mt3_http_requests_in_progress", "Requests whose response is not complete"
        )
        self.errors = self._counter("mt3_errors_total", "Error responses, by code", ["code"])
        self.upload_bytes = self._counter("mt3_upload_bytes_total", "Bytes of recordings received")
        self.streams_open = self._gauge("mt3_streams_open", "Event streams being sent")
        self.stream_resumes = self._counter(
            "mt3_stream_resumes_total", "Event streams resumed by their client"
        )
        self.api_keys = self._gauge("mt3_api_keys", "Loaded keys")
        self.key_reloads = self._counter(
            "mt3_key_reloads_total", "Reloads of the key file, by outcome", ["outcome"]
        )
        for outcome in ("loaded", "failed"):
            self.key_reloads.labels(outcome)

    def _counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _info(self, name: str, help_text: str) -> Info:
        return Info(name, help_text, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
