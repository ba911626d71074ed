"""Admission of recordings: limits in seconds of audio, and the time until there is room.

The audio admitted and not yet generated is limited, over all callers and, if a caller has its own
limit, for that caller. This module computes every waiting time that a refusal names, from what must
be generated first and from the measured speed:

- Room in the server: ``excess / speed``, whichever caller's audio is generated.
- Room for one caller: ``(excess + sum over others of min(waiting, excess)) / speed``, because
  callers take turns: until one has got ``excess`` seconds, every other caller gets the same amount,
  or all that it waits for.

Callers refused by the server get times one after the other (`retry_after.py`).

A recording longer than a limit is admitted when nothing else waits under that limit; otherwise it
would never be admitted.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable

from mt3_model.notes.generated import ForbiddenTokens, GeneratedSegment
from mt3_model.notes.transcription import Decoding
from service.engine.retry_after import MAX_RETRY_AFTER_SECONDS, RetryAfterEstimator
from service.errors import OverloadedError, QuotaError

_SPEED_BEFORE_MEASURED = 1.0
"""Audio seconds per second, assumed until a segment is generated: the speed of a slow machine.
Warming up gives no better value, because silence ends after a few tokens."""
_SPEED_MEMORY_SECONDS = 30.0
"""Time constant, in seconds of the device's work, with which older measurements fade."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Admission:
    """One admitted recording; made by `Engine.admit` and changed by the engine alone."""

    recording_id: int
    caller: str
    decoding: Decoding
    forbidden: ForbiddenTokens | None = None
    """Tokens that its segments must not have; None: all are allowed."""
    waiting_audio_seconds: float
    """Audio admitted and not yet generated."""
    queue_seconds: float | None = None
    """Time from the submission of the first segment until it got a slot; None until it is
    generated. Later segments wait for their own recording, which does not count."""
    is_background: bool = False
    """Whether it belongs to a job: it takes turns like any other, but takes no room from requests.
    The number of jobs' recordings in flight is bounded instead."""
    submitted: float | None = None
    """Time of submission of the first segment, on the engine's clock."""
    futures: dict[int, asyncio.Future[GeneratedSegment]] = dataclasses.field(
        default_factory=dict[int, asyncio.Future[GeneratedSegment]]
    )
    """The futures of its segments in the engine, by index."""


class Admissions:
    """All recordings that are currently admitted."""

    def __init__(
        self, *, bound_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start without recordings.

        Args:
            bound_seconds: maximum audio admitted and not yet generated, over all callers.
            clock: clock of the estimates given to refused callers.
        """
        self.speed = Speed()
        self.by_recording: dict[int, Admission] = {}
        self._estimator = RetryAfterEstimator(bound_seconds=bound_seconds)
        self._clock = clock
        self._bound = bound_seconds

    @property
    def waiting_audio_seconds(self) -> float:
        """Audio admitted and not yet generated, over all recordings."""
        return sum(admission.waiting_audio_seconds for admission in self.by_recording.values())

    @property
    def typical_audio_seconds(self) -> float:
        """Typical length of recent recordings: an estimate for one that is not open yet."""
        return self._estimator.typical_audio_seconds

    def require_room(
        self, audio_seconds: float, *, caller: str, caller_bound_seconds: float | None
    ) -> None:
        """Refuse a recording for which there is no room.

        Raises:
            QuotaError: the caller's bound is reached; with the seconds until it has room.
            OverloadedError: the server's bound is reached; with the seconds until it has room.
        """
        by_caller = self._waiting_by_caller()
        own = by_caller.pop(caller, 0.0)
        if caller_bound_seconds is not None:
            excess = _excess(own, audio_seconds, caller_bound_seconds)
            if excess is not None:
                work = excess + sum(min(waiting, excess) for waiting in by_caller.values())
                retry_after = self._seconds_to_generate(work)
                raise QuotaError(
                    _refusal("of yours ", own, audio_seconds, caller_bound_seconds, retry_after),
                    retry_after_seconds=retry_after,
                )
        waiting = self._audio_seconds(is_background=False)
        background = self._audio_seconds(is_background=True)
        excess = _excess(waiting, audio_seconds, self._bound)
        if excess is not None:
            work = excess + min(background, excess)  # requests take turns with jobs
            retry_after = self._estimate(self._seconds_to_generate(work), audio_seconds)
            raise OverloadedError(
                _refusal("", waiting, audio_seconds, self._bound, retry_after),
                retry_after_seconds=retry_after,
            )

    def add(self, admission: Admission) -> None:
        """Admit a recording, after `require_room`."""
        self.by_recording[admission.recording_id] = admission
        if not admission.is_background:
            self._estimator.add_recording(admission.waiting_audio_seconds)

    def retry_after_next_end(self, caller: str | None = None) -> int:
        """Return the whole seconds, at least 1, after which a recording should have ended.

        Args:
            caller: the caller whose own limit is reached, so that its next recording counts. None:
                the server's limit is reached, so that every caller's recordings count, and earlier
                refusals come first.
        """
        seconds = self.seconds_to_next_end(caller)
        return self._estimate(seconds) if caller is None else max(math.ceil(seconds), 1)

    def seconds_to_next_end(self, caller: str | None = None) -> float:
        """Return the time until the next of the recordings should be generated; 0 without any.

        Callers take turns, and so do each caller's recordings. A caller's shortest recording ends
        when each of its recordings has got as much audio as that one; meanwhile every other caller
        has got as much as this one in total.

        Args:
            caller: count this caller's recordings only; None: all.
        """
        waiting: dict[str, list[float]] = {}
        for admission in self.by_recording.values():
            waiting.setdefault(admission.caller, []).append(admission.waiting_audio_seconds)
        if caller is not None:
            own = waiting.pop(caller, [0.0])
            first = len(own) * min(own)
            others = sum(min(sum(recordings), first) for recordings in waiting.values())
            return (first + others) / self.speed.value
        # Until the earliest end, every caller gets as much as the caller of that recording.
        firsts = [len(recordings) * min(recordings) for recordings in waiting.values()]
        return len(firsts) * min(firsts, default=0.0) / self.speed.value

    def _estimate(self, room_after: float, audio_seconds: float = 0.0) -> int:
        return self._estimator.estimate(
            self._clock(),
            room_after=room_after,
            audio_seconds=audio_seconds,
            speed=self.speed.value,
        )

    def _seconds_to_generate(self, audio_seconds: float) -> int:
        seconds = math.ceil(audio_seconds / self.speed.value)
        return min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)

    def _audio_seconds(self, *, is_background: bool) -> float:
        return sum(
            admission.waiting_audio_seconds
            for admission in self.by_recording.values()
            if admission.is_background == is_background
        )

    def _waiting_by_caller(self) -> dict[str, float]:
        waiting: dict[str, float] = {}
        for admission in self.by_recording.values():
            before = waiting.get(admission.caller, 0.0)
            waiting[admission.caller] = before + admission.waiting_audio_seconds
        return waiting


class Speed:
    """Recent speed of the device: audio seconds generated per second of its work."""

    def __init__(self) -> None:
        self._audio_seconds = 0.0
        self._busy_seconds = 0.0

    @property
    def value(self) -> float:
        """The measured speed; a guess before the first measurement."""
        if self._audio_seconds == 0.0:
            return _SPEED_BEFORE_MEASURED
        return self._audio_seconds / max(self._busy_seconds, 1e-6)

    def add(self, audio_seconds: float, busy_seconds: float) -> None:
        """Add a measurement; older ones fade by the factor ``exp(-busy_seconds / 30)``."""
        fading = math.exp(-busy_seconds / _SPEED_MEMORY_SECONDS)
        self._audio_seconds = fading * self._audio_seconds + audio_seconds
        self._busy_seconds = fading * self._busy_seconds + busy_seconds


def _excess(waiting: float, more: float, bound: float) -> float | None:
    """Return the seconds to generate before ``more`` has room; None if it has room."""
    if waiting == 0 or waiting + more < bound:
        return None
    # A recording longer than the bound has room once nothing else waits.
    return min(waiting + more - bound, waiting)


def _refusal(whose: str, waiting: float, more: float, bound: float, retry_after: int) -> str:
    return (
        f"{waiting:.0f} seconds of audio {whose}are waiting and {more:.0f} more would exceed"
        f" the limit of {bound:.0f}; try again in {retry_after} s"
    )
