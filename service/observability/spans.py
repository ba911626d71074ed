"""Spans of `service/observability/tracing.py` -> OpenTelemetry's, and from there to a collector.

The only module of ours that imports OpenTelemetry; it is loaded when tracing is turned on. Provider
and current span are ours and not the process-wide ones of OpenTelemetry: a server can then be
stopped and started again, and a block may stand in an asynchronous generator, which may be closed
from another context than the one it was begun in (OpenTelemetry answers that with an error in the
log).
"""

import contextvars
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)

Attribute = str | bool | int | float
_SERVICE_NAME = "mt3-service"
LAST_EXPORT_SECONDS = 3.0
"""How long the end of the process waits for a collector: it has requests to finish, not traces."""
_NOWHERE: Final = Context()
_current: contextvars.ContextVar[Context] = contextvars.ContextVar("span", default=_NOWHERE)
"""In which new spans are begun; it follows a request into its tasks."""


class SpanRecorder:
    """Records spans and sends them away."""

    def __init__(self, *, version: str, ratio: float, exporter: SpanExporter | None) -> None:
        """Takes what `start_tracing` takes."""
        of_all = TraceIdRatioBased(ratio)
        ours = Resource({"service.name": _SERVICE_NAME, "service.version": version})
        self._provider = TracerProvider(
            # The environment (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) has the last word.
            resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
            # A caller's flag neither turns the recording of its requests off nor on.
            sampler=ParentBased(
                of_all, remote_parent_sampled=of_all, remote_parent_not_sampled=of_all
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter())
            if exporter is None
            else SimpleSpanProcessor(exporter)
        )
        self._tracer = self._provider.get_tracer("service", version)

    def begin(self, name: str, attributes: Mapping[str, Attribute]) -> "OpenSpan":
        """Begins a span inside the current one."""
        return OpenSpan(self._start(name, attributes, _current.get()))

    def begin_request(
        self, name: str, attributes: Mapping[str, Attribute], *, parent: tuple[int, int] | None
    ) -> "OpenSpan":
        """Begins a request's span; ``parent`` is the caller's trace id and span id."""
        inside = _NOWHERE
        if parent is not None:
            remote = SpanContext(trace_id=parent[0], span_id=parent[1], is_remote=True)
            inside = set_span_in_context(NonRecordingSpan(remote), _NOWHERE)
        return OpenSpan(self._start(name, attributes, inside, kind=SpanKind.SERVER))

    def record(
        self, name: str, attributes: Mapping[str, Attribute], *, began: float, ended: float
    ) -> None:
        """Records a span that is over, with its times on `time.monotonic`."""
        to_unix = time.time() - time.monotonic()
        over = self._start(
            name, attributes, _current.get(), start_time=round(1e9 * (began + to_unix))
        )
        over.end(round(1e9 * (ended + to_unix)))

    def current_trace_id(self) -> str | None:
        """The current span's trace, if there is one."""
        context = get_current_span(_current.get()).get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else None

    def close(self) -> None:
        """Sends what is not sent yet, for a few seconds at most, and ends."""
        # The library's own time limits are half a minute, or none. A daemon ends with the process.
        ending = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        ending.start()
        ending.join(LAST_EXPORT_SECONDS)

    def _start(
        self,
        name: str,
        attributes: Mapping[str, Attribute],
        inside: Context,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        start_time: int | None = None,
    ) -> Span:
        written = {_dotted(key): value for key, value in attributes.items()}
        return self._tracer.start_span(
            name, context=inside, kind=kind, attributes=written, start_time=start_time
        )


class OpenSpan:
    """A span begun, and the parent of those begun inside its ``with`` block."""

    __slots__ = ("_before", "_span")

    def __init__(self, begun: Span) -> None:
        self._span = begun
        self._before = _NOWHERE

    def set(self, **attributes: Attribute) -> None:
        """Adds attributes."""
        for key, value in attributes.items():
            self._span.set_attribute(_dotted(key), value)

    def rename(self, name: str) -> None:
        """Changes the name."""
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """Marks it as failed."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def __enter__(self) -> "OpenSpan":
        self._before = _current.get()
        _current.set(set_span_in_context(self._span, _NOWHERE))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        _current.set(self._before)
        # What was cancelled, or is a generator closed early, has not failed: both are no Exception.
        if kind is not None and issubclass(kind, Exception):
            self.fail(kind.__name__)
        self._span.end()


def _dotted(name: str) -> str:
    return name.replace("__", ".")
