"""Metrics of one transcription, from the recording's arrival to its end."""

from collections.abc import Callable
from types import TracebackType

from service.errors import OverloadedError, QuotaError
from service.observability.metrics import Metrics


class TranscriptionMetrics:
    """Counts one recording as open while the context lasts, and then by how it ended.

    A refused recording was never started: it counts as an error of the response, not here.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._began = clock()
        self._metrics = metrics
        self._clock = clock
        self._has_notes = False
        self._is_refused = False
        self._is_finished = False

    def __enter__(self) -> "TranscriptionMetrics":
        self._metrics.open_recordings.inc()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._metrics.open_recordings.dec()
        if self._is_finished:
            outcome = "finished"
        elif self._is_refused or isinstance(error, OverloadedError | QuotaError):
            return
        elif isinstance(error, Exception):
            outcome = "failed"
        else:
            outcome = "canceled"
        self._metrics.transcriptions.labels(outcome).inc()

    def elapsed_seconds(self) -> float:
        """Return the seconds since the recording's arrival."""
        return self._clock() - self._began

    def refuse(self) -> None:
        """Record that the recording was not admitted."""
        self._is_refused = True

    def add_notes(self) -> None:
        """Record the time to the first notes; later calls do nothing."""
        if not self._has_notes:
            self._has_notes = True
            self._metrics.first_note_seconds.observe(self.elapsed_seconds())

    def finish(self, audio_seconds: float) -> None:
        """Record a complete transcription of some seconds of audio."""
        self._is_finished = True
        wall_seconds = self.elapsed_seconds()
        self._metrics.transcription_seconds.observe(wall_seconds)
        self._metrics.real_time_factor.observe(audio_seconds / max(wall_seconds, 1e-6))
