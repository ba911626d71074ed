"""Structured logging: one JSON object per line on standard error, or plain text on a terminal.

An event has a constant name (``request_finished``) and fields. The ids of the current request and
its trace are added automatically, through context variables that follow the request into its tasks.
Never logged: audio, file names, query strings, keys.
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
"""Id of the current request."""
_request_fields: contextvars.ContextVar[dict[str, object] | None] = contextvars.ContextVar(
    "request_fields", default=None
)

_is_probe: contextvars.ContextVar[bool] = contextvars.ContextVar("is_probe", default=False)

_INFORMATIVE = ("service", "uvicorn.error")
"""Loggers that log from the chosen level on; uvicorn's reports the start and end of the socket.
Other libraries (asyncio, OpenTelemetry, Python's warnings) log warnings and worse."""
FIELDS = "event_fields"
"""The attribute of a log record that holds the event's fields."""
_PLAIN = re.compile(r"[^\s\"=]+")


def log_event(
    logger: logging.Logger,
    event: str,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: object,
) -> None:
    """Log an event.

    Args:
        logger: the module's logger.
        event: constant name in snake_case.
        level: level of the standard logging module.
        error: an exception, logged with its stack trace, which no response contains.
        **fields: details; values that JSON lacks are written as text.
    """
    if level == logging.INFO and _is_probe.get():
        level = logging.DEBUG
    logger.log(level, event, exc_info=error, extra={FIELDS: fields})


def collect_request_fields(*, is_probe: bool = False) -> dict[str, object]:
    """Start collecting the fields that `add_request_fields` adds, and return their dict.

    Call it in the request's own context, whose end also ends the collection.

    Args:
        is_probe: whether the request is a health probe: its events of level info are logged as
            debug.
    """
    fields: dict[str, object] = {}
    _request_fields.set(fields)
    _is_probe.set(is_probe)
    return fields


def add_request_fields(**fields: object) -> None:
    """Add fields to the request's ``request_finished`` event; without effect outside a request."""
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
        level: lowest level logged: ``debug``, ``info``, ``warning`` or ``error``.
        stream: output stream; None: standard error.
        form: lines of JSON or of text; ``auto``: text if the stream is a terminal.
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
    """Formats a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time (UTC), level, logger, event, request id, fields, and a stack trace if any."""
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
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            return json.dumps(line, default=str, ensure_ascii=False, allow_nan=False)
        except ValueError:  # a number that is not finite: log the line anyway
            return json.dumps(repair_json(line), default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formats a log record as a line of text, followed by a stack trace if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return local time, level, event, fields, request id, and a stack trace if any."""
        time = datetime.datetime.fromtimestamp(record.created).astimezone()
        fields: dict[str, object] = dict(getattr(record, FIELDS, {}))
        if (current := request_id.get()) is not None:
            fields["request_id"] = current
        shown = "".join(f" {k}={_shown(v)}" for k, v in fields.items() if v is not None)
        line = f"{time:%H:%M:%S} {record.levelname.lower():7} {record.getMessage()}{shown}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


# Commands other than the servers configure no logging. Their warnings and errors go to standard
# error by this handler of Python's, which alone would write an event's name without its fields.
assert logging.lastResort is not None
logging.lastResort.setFormatter(TextFormatter())


def _shown(value: object) -> str:
    """Return a value on one line, quoted if it has spaces or quotes."""
    text = str(value)
    return text if text and _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
