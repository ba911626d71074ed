"""Estimate when refused callers should retry: one after the other, not all at once.

A full queue gains room for one recording at a time. If all callers refused in the same second
got the same time, all but one would be refused again. An estimate therefore takes account of the
earlier estimates that are not yet due: each stands for a recording that will take the next free
room for as long as its generation lasts. The total audio that they stand for is limited, because
some callers never retry.

The estimator is pure: the time is an argument.
"""

import math

MAX_RETRY_AFTER_SECONDS = 3_600
"""Longest estimate: an hour later everything may be different."""
_ASSUMED_AUDIO_SECONDS = 60.0
"""Length of a recording, assumed until the first one is admitted."""
_NEWEST_SHARE = 0.1
"""Weight of the newest recording in the typical length, so that about ten count."""


class RetryAfterEstimator:
    """The estimates given and not yet due, and the typical length of a recording."""

    def __init__(self, *, bound_seconds: float) -> None:
        """Start without estimates.

        Args:
            bound_seconds: maximum audio that earlier estimates stand for: that of a full queue.
        """
        self._bound = bound_seconds
        self._typical = min(_ASSUMED_AUDIO_SECONDS, bound_seconds)
        self._due: list[tuple[float, float]] = []  # (time, seconds of audio expected then)

    @property
    def typical_audio_seconds(self) -> float:
        """Moving average of the lengths of admitted recordings."""
        return self._typical

    def add_recording(self, audio_seconds: float) -> None:
        """Count the length of an admitted recording in the typical length."""
        self._typical += _NEWEST_SHARE * (audio_seconds - self._typical)

    def estimate(self, now: float, *, room_after: float, audio_seconds: float, speed: float) -> int:
        """Estimate when a refused caller should retry, and remember the estimate.

        Args:
            now: time on the caller's clock.
            room_after: seconds until there is room for one recording.
            audio_seconds: length of the refused recording; 0 if it is unknown.
            speed: seconds of audio generated per second.

        Returns:
            Whole seconds, 1 to ``MAX_RETRY_AFTER_SECONDS``.
        """
        self._due = [(when, audio) for when, audio in self._due if when > now]
        before = min(sum(audio for _, audio in self._due), self._bound)
        seconds = math.ceil(room_after + before / speed)
        seconds = min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)
        if before < self._bound:
            self._due.append((now + seconds, audio_seconds or self._typical))
        return seconds
