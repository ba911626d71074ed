"""The caller of a request, with its scopes and limits.

Every request has a caller: the holder of an API key or, on a server without keys, the one anonymous
caller. Work is shared fairly between callers, and each has its own limits in addition to the
server's.
"""

import dataclasses
import enum


class Scope(enum.Enum):
    """A part of the API that a key gives access to."""

    TRANSCRIBE = "transcribe"
    """Transcriptions in one request, including streams."""
    JOBS = "jobs"
    """The job API."""
    METRICS = "metrics"
    """``/metrics``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallerLimits:
    """Limits of one caller; None: the server's limit alone."""

    max_upload_bytes: int | None = None
    """Largest recording, in bytes as sent."""
    max_audio_seconds: float | None = None
    """Longest recording."""
    max_concurrent_requests: int | None = None
    """Maximum number of transcriptions and exports in progress."""
    max_waiting_audio_seconds: float | None = None
    """Maximum audio admitted and not yet transcribed, over all of the caller's recordings."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The sender of a request."""

    name: str
    """Stable name in logs and metrics; jobs belong to it."""
    scopes: frozenset[Scope]
    limits: CallerLimits = CallerLimits()


ANONYMOUS = Caller(name="anonymous", scopes=frozenset(Scope))
"""The caller of every request to a server without keys."""
