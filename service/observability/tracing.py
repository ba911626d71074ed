"""Spans of a request, recorded with the OpenTelemetry API.

The trace of one request::

    POST /v1/transcriptions       from the middleware; continues the caller's W3C ``traceparent``
      upload                      the body is written to disk
      open                        the decoding process starts and finds the recording's beginning
      generate                    segments are read and generated
        queue                     from the first segment's submission until it has a slot
      conclude                    tokens -> notes, their clean-up, the requested format

The API records nothing until `start_tracing` is called, and it never imports the SDK: that is the
extra ``tracing``, used by `service/observability/span_export.py` alone. The tracer provider belongs
to this module and is not OpenTelemetry's process-wide one, which can be set only once: a server can
be stopped and started again.

Input of callers is not trusted: only the two ids of ``traceparent`` are used, its flag decides
nothing, and ``tracestate`` and ``baggage`` are not read. Attributes are numbers and names from this
code; an exception is recorded by its class, never by its message, which may quote a caller.
"""

import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mt3_model.errors import OptionError

if TYPE_CHECKING:
    # `start_tracing` imports these at run time, and the SDK with them.
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

LAST_EXPORT_SECONDS = 3.0
"""Longest that the end of the process waits for a collector."""
_propagator = TraceContextTextMapPropagator()
_tracer: Tracer = NoOpTracer()
_provider: "TracerProvider | None" = None


def start_tracing(
    *, version: str, ratio: float = 1.0, exporter: "SpanExporter | None" = None
) -> None:
    """Turn tracing on for the process.

    Args:
        version: version of this code, an attribute of every span.
        ratio: share of traces recorded, 0 to 1. The trace id decides, so that services with the
            same ratio record the same traces; a caller's sampling flag has no effect.
        exporter: receives each span at once; None: OTLP over HTTP, in batches, to where
            ``OTEL_EXPORTER_OTLP_*`` say.

    Raises:
        OptionError: OpenTelemetry's SDK is not installed.
    """
    global _tracer, _provider  # noqa: PLW0603 (one per process, like the log)
    try:
        from service.observability.span_export import build_provider  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "tracing",
            "MT3_TRACING is on and OpenTelemetry is not installed; install the extra"
            " 'mt3-service[tracing]', or turn it off",
        ) from error
    stop_tracing()
    _provider = build_provider(version=version, ratio=ratio, exporter=exporter)
    _tracer = _provider.get_tracer("service", version)


def stop_tracing() -> None:
    """Turn tracing off. Blocks while remaining spans are sent, `LAST_EXPORT_SECONDS` at most."""
    global _tracer, _provider
    ending, _provider, _tracer = _provider, None, NoOpTracer()
    if ending is not None:
        # The SDK's own time limits are half a minute, or none. A daemon ends with the process.
        closing = threading.Thread(target=ending.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(LAST_EXPORT_SECONDS)


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, str | bool | int | float] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
) -> Generator[Span]:
    """Record the block as a span, which is current inside it.

    Args:
        name: one of few values.
        attributes: facts from this code, never input of a caller.
        kind: as in OpenTelemetry.
        parent: context to start the span in; None: the current one.
    """
    previous = get_current()
    started = _tracer.start_span(
        name, context=previous if parent is None else parent, kind=kind, attributes=attributes
    )
    attach(set_span_in_context(started, previous if parent is None else parent))
    try:
        yield started
    except Exception as error:
        started.set_attribute("error.type", type(error).__name__)
        started.set_status(StatusCode.ERROR)
        raise
    finally:
        # Not `detach`: an asynchronous generator may be closed from another context, where the
        # token is invalid and OpenTelemetry logs an error.
        attach(previous)
        started.end()


def request_span(name: str, *, traceparent: str | None) -> contextlib.AbstractContextManager[Span]:
    """Record the block as the span of an incoming request.

    Args:
        name: the method; `Span.update_name` corrects it once the route is known.
        traceparent: the header as received. A valid one's trace is continued, any other ignored.
    """
    parent = _propagator.extract({"traceparent": traceparent or ""}, context=Context())
    return span(name, kind=SpanKind.SERVER, parent=parent)


def record_span(name: str, *, began: float, ended: float) -> None:
    """Record a period in the past as a span inside the current one.

    Args:
        name: one of few values.
        began: seconds on `time.monotonic`.
        ended: seconds on the same clock.
    """
    to_unix = time.time() - time.monotonic()
    past = _tracer.start_span(name, start_time=round(1e9 * (began + to_unix)))
    past.end(round(1e9 * (ended + to_unix)))


def current_trace_id() -> str | None:
    """Return the current trace's id, 32 hexadecimal digits; None where nothing is recorded."""
    if _provider is None:
        return None
    found = get_current_span().get_span_context()
    return format_trace_id(found.trace_id) if found.is_valid else None
