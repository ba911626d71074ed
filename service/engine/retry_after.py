"""When those that were refused are told to come back: one after the other, not all at once.

A full queue has room for one more recording at a time. If everybody refused in the same second were
promised the same time, all but one would be refused again. So a promise counts those given before
and not yet due: each of them will take the room of a recording, for as long as one takes to be
generated. What all of them together add is bounded, because some never come back.

Pure: the time is an argument.
"""

import math

MAX_RETRY_AFTER_SECONDS = 3_600
"""Nobody is told to come back later than in an hour: by then everything may be different."""
_USUAL_AUDIO_SECONDS = 60.0
"""Length of a recording, assumed until one has come."""
_NEWEST_SHARE = 0.1
"""Of the usual length: how much the newest recording counts, so that about ten do."""


class RetryAfterEstimator:
    """Times at which those refused were told to come back."""

    def __init__(self, *, bound_seconds: float) -> None:
        """Starts with none.

        Args:
            bound_seconds: Most audio that promises together stand for: that of a full queue.
        """
        self._bound = bound_seconds
        self._typical = min(_USUAL_AUDIO_SECONDS, bound_seconds)
        self._due: list[tuple[float, float]] = []  # (when, seconds of audio that then come)

    @property
    def typical_audio_seconds(self) -> float:
        """Length of the recordings that come lately."""
        return self._typical

    def add_recording(self, audio_seconds: float) -> None:
        """Takes note of the length of a recording that was let in."""
        self._typical += _NEWEST_SHARE * (audio_seconds - self._typical)

    def estimate(self, now: float, *, room_after: float, audio_seconds: float, speed: float) -> int:
        """RetryAfterEstimator room.

        Args:
            now: On the clock of whoever asks.
            room_after: Seconds until there is room for one recording.
            audio_seconds: Length of the recording refused; 0 where it is not known.
            speed: Seconds of audio generated per second.

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
