"""Events with fields -> one JSON object per line on standard error; on a terminal, plain text.

An event is a name that never changes (``request_finished``) and fields; machines filter on both.
The id of the request being served is added by itself, through a context variable that follows the
request into its tasks, and so is its trace's. Never logged: audio, file names, query strings, keys.
"""

import contextvars
import datetime
import json
import logging
import re
import sys
from typing import Literal, TextIO

from mt3_model.export.strict_json import repair_json
from service.observability.tracing import current_trace_id

request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""The request being served, for every event logged on its behalf."""
_request_fields: contextvars.ContextVar[dict[str, object] | None] = contextvars.ContextVar(
    "request_fields", default=None
)

_is_probe: contextvars.ContextVar[bool] = contextvars.ContextVar("is_probe", default=False)

_INFORMATIVE = ("service", "uvicorn.error")
"""Of these everything down to the chosen level is logged; uvicorn's is the socket's beginning and
end. Of other libraries (asyncio, OpenTelemetry, Python's warnings) warnings and worse are."""
_FIELDS = "event_fields"
_PLAIN = re.compile(r"[^\s\"=]+")


def log_event(
    logger: logging.Logger,
    event: str,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: object,
) -> None:
    """Logs an event.

    Args:
        logger: The module's own.
        event: Stable name in snake_case.
        level: Of the standard logging module.
        error: Logged with its stack trace, which no response ever holds.
        **fields: What a reader needs to know; values that JSON lacks are written as text.
    """
    if level == logging.INFO and _is_probe.get():
        level = logging.DEBUG
    logger.log(level, event, exc_info=error, extra={_FIELDS: fields})


def collect_request_fields(*, is_probe: bool = False) -> dict[str, object]:
    """Begin a request: the dict returned takes what `add_request_fields` adds.

    To be called in a context of the request's own; nothing ends it but the context's end.

    Args:
        is_probe: The request is a supervisor's question, asked every few seconds: its events of the
            level info are logged as debug.
    """
    fields: dict[str, object] = {}
    _request_fields.set(fields)
    _is_probe.set(is_probe)
    return fields


def add_request_fields(**fields: object) -> None:
    """Adds to what the request's one ``request_finished`` event will say, from anywhere below it.

    Outside a request nothing happens.
    """
    if (collected := _request_fields.get()) is not None:
        collected.update(fields)


def configure_logging(
    level: str,
    stream: TextIO | None = None,
    *,
    form: Literal["auto", "json", "text"] = "auto",
) -> None:
    """Send the service's events, and other libraries' warnings, to one stream.

    Args:
        level: Least severe level logged: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Standard error when absent.
        form: Lines of JSON, or of text for people; ``auto``: text where the stream is a terminal.
    """
    chosen = sys.stderr if stream is None else stream
    is_text = form == "text" or (form == "auto" and chosen.isatty())
    handler = logging.StreamHandler(chosen)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    for known in list(root.handlers):
        if isinstance(known.formatter, JsonFormatter | TextFormatter):
            root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for name in _INFORMATIVE:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """A log record -> one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Writes time (UTC), level, logger, event, request id, fields, and the trace if any."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        if (trace := current_trace_id()) is not None:
            line["trace_id"] = trace
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            return json.dumps(line, default=str, ensure_ascii=False, allow_nan=False)
        except ValueError:  # a number that is not finite: a line must come out all the same
            return json.dumps(repair_json(line), default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A log record -> a line for people, with its trace on the lines after."""

    def format(self, record: logging.LogRecord) -> str:
        """Writes local time, level, event, fields and request id, and the trace if any."""
        time = datetime.datetime.fromtimestamp(record.created).astimezone()
        fields: dict[str, object] = dict(getattr(record, _FIELDS, {}))
        if (current := request_id.get()) is not None:
            fields["request_id"] = current
        shown = "".join(f" {k}={_shown(v)}" for k, v in fields.items() if v is not None)
        line = f"{time:%H:%M:%S} {record.levelname.lower():7} {record.getMessage()}{shown}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    """A value on one line, quoted where it would not be seen to be one."""
    text = str(value)
    return text if text and _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
