"""Events with fields -> one JSON object per line on standard error.

An event is a name that never changes (``request_finished``) and fields; machines filter on both.
The id of the request being served is added by itself, through a context variable that follows the
request into its tasks. Never logged: audio, file names, query strings, keys.
"""

import contextvars
import datetime
import json
import logging
import sys
from typing import TextIO

request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""The request being served, for every event logged on its behalf."""

_ROOT = "service"
_FIELDS = "event_fields"


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
    logger.log(level, event, exc_info=error, extra={_FIELDS: fields})


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Sends the service's events, and the ASGI server's complaints, to one stream as JSON lines.

    Args:
        level: Least severe level logged: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Standard error when absent.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in (_ROOT, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())


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
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
