"""Who asks, and what they may: the noun that limits and fairness hang on.

Every request is some caller's: the holder of an API key, or, where the server asks for none, the
one caller that everybody is. Work is shared fairly between callers, and each has limits of its own
beside the server's.
"""

import dataclasses
import enum


class Scope(enum.Enum):
    """What a key opens."""

    TRANSCRIBE = "transcribe"
    """Transcriptions in one request, streams included."""
    JOBS = "jobs"
    """The job API."""
    METRICS = "metrics"
    """``/metrics``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallerLimits:
    """What one caller may have at a time; absent: as much as the server has."""

    max_upload_bytes: int | None = None
    """Of one recording, as sent."""
    max_audio_seconds: float | None = None
    """Of one recording."""
    max_concurrent_requests: int | None = None
    """Transcriptions begun and not yet answered."""
    max_waiting_audio_seconds: float | None = None
    """Audio admitted and not yet transcribed, over all of the caller's recordings."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whose a request is."""

    name: str
    """Stable: it names the caller in logs and metrics, and jobs belong to it."""
    scopes: frozenset[Scope]
    limits: CallerLimits = CallerLimits()


ANONYMOUS = Caller(name="anonymous", scopes=frozenset(Scope))
"""Everybody, where the server asks for no key."""
