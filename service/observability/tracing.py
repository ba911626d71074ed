"""What a request spends its time on -> spans of a trace, where the deployment wants them.

A trace of one request::

    POST /v1/transcriptions       the middleware's; continues the caller's W3C ``traceparent``
      upload                      the body, to disk
      open                        the decoding process starts and finds the recording's beginning
      generate                    its segments are read, generated and decoded to notes
        queue                     from the first segment's submission until it has a slot
      export                      notes -> the form asked for

`span` may stand anywhere: while tracing is off (`MT3_TRACING` is not set) it gives one shared
object that does nothing, and OpenTelemetry's SDK, the extra ``tracing``, is not even imported; it
is by `service/observability/spans.py` alone. Where spans go, OpenTelemetry's own variables say
(``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like).

What a caller sends is not trusted: of ``traceparent`` only the two ids are used, its flag decides
nothing, ``tracestate`` and ``baggage`` are not read. Attributes are ours alone: numbers, and names
from this code; of an exception the class is written and never the message, which may quote a
caller.
"""

import re
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from mt3_model.errors import OptionError

if TYPE_CHECKING:
    # At run time `start_tracing` imports these, and OpenTelemetry with them.
    from opentelemetry.sdk.trace.export import SpanExporter

    from service.observability.spans import SpanRecorder

Attribute = str | bool | int | float
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<parent>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)
"""Version ff is none, ids are not all zero, and only a later version than 00 may have more at its
end. Source: W3C Trace Context, Recommendation of 23 November 2021, 3.2.2 and 4.3."""
_LONGEST_TRACEPARENT = 256
_FIRST_VERSION = "00"


class Span(Protocol):
    """A stretch of time with a name, open for as long as its ``with`` block."""

    def set(self, **attributes: Attribute) -> None:
        """Adds what is known only now."""
        ...

    def rename(self, name: str) -> None:
        """Gives it the name that is known only now."""
        ...

    def fail(self, kind: str) -> None:
        """Says that what it stands for failed, and how: a word of ours, such as a status."""
        ...

    def __enter__(self) -> "Span": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class _NoSpan:
    """What `span` gives while tracing is off; one for all."""

    __slots__ = ()

    def set(self, **attributes: Attribute) -> None:
        """Nothing is recorded."""

    def rename(self, name: str) -> None:
        """Nothing is recorded."""

    def fail(self, kind: str) -> None:
        """Nothing is recorded."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


_NO_SPAN = _NoSpan()
_recorder: "SpanRecorder | None" = None


def start_tracing(
    *, version: str, ratio: float = 1.0, exporter: "SpanExporter | None" = None
) -> None:
    """Turns tracing on, for the process.

    Args:
        version: Of this code, told with every span.
        ratio: Share of traces recorded, 0 to 1. Decided by the trace's id, so that services with
            the same ratio keep the same traces; a caller's sampling flag has no say.
        exporter: Where spans go, each at once; absent: OTLP over HTTP, in batches, as
            ``OTEL_EXPORTER_OTLP_*`` say.

    Raises:
        OptionError: OpenTelemetry is not installed.
    """
    global _recorder  # noqa: PLW0603 (the process has one, as it has one log)
    try:
        from service.observability.spans import SpanRecorder  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "tracing",
            "MT3_TRACING is on and OpenTelemetry is not installed; install the extra"
            " 'mt3-service[tracing]', or turn it off",
        ) from error
    stop_tracing()
    _recorder = SpanRecorder(version=version, ratio=ratio, exporter=exporter)


def stop_tracing() -> None:
    """Turns tracing off, after the spans that are not sent yet; blocks while they are."""
    global _recorder
    ending, _recorder = _recorder, None
    if ending is not None:
        ending.close()


def span(name: str, **attributes: Attribute) -> Span:
    """Begins a span inside the current one; to be used with ``with``.

    Args:
        name: What happens, of few values.
        **attributes: Facts of ours, never what a caller sent. ``a__b`` is written ``a.b``.
    """
    return _NO_SPAN if _recorder is None else _recorder.begin(name, attributes)


def request_span(name: str, *, traceparent: str | None, **attributes: Attribute) -> Span:
    """Begins the span of a request that arrived.

    Args:
        name: Method and route; `Span.rename` corrects it once the route is known.
        traceparent: The header as sent, if any: a valid one's trace is continued, any other is as
            if it were absent.
        **attributes: As for `span`.
    """
    if _recorder is None:
        return _NO_SPAN
    return _recorder.begin_request(name, attributes, parent=read_traceparent(traceparent))


def record_span(name: str, *, began: float, ended: float, **attributes: Attribute) -> None:
    """Records a stretch of time that is over, inside the current span.

    Args:
        name: As for `span`.
        began: On `time.monotonic`, seconds.
        ended: The same clock.
        **attributes: As for `span`.
    """
    if _recorder is not None:
        _recorder.record(name, attributes, began=began, ended=ended)


def current_trace_id() -> str | None:
    """The trace that is recorded here, as 32 hexadecimal digits; for logs."""
    return None if _recorder is None else _recorder.current_trace_id()


def read_traceparent(header: str | None) -> tuple[int, int] | None:
    """Gives the trace's and the parent span's id; None of a header that is absent or not valid."""
    if header is None or len(header) > _LONGEST_TRACEPARENT:
        return None
    found = _TRACEPARENT.fullmatch(header)
    if found is None or (found["version"] == _FIRST_VERSION and found["more"] is not None):
        return None
    return int(found["trace"], 16), int(found["parent"], 16)
