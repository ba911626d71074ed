"""Who may wait, and how long until there is room: bounds in seconds of audio, and the speed.

The sum of what is admitted and not yet generated is bounded, over all callers and, where a caller
has a bound of its own, for that caller. Both answers to "when again?" follow from what must be
generated first and from the measured speed:

- Room in the server: ``excess / speed``, whoever's audio is generated.
- Room for one caller: ``(excess + sum over others of min(waiting, excess)) / speed``, because
  callers take turns: until it has got ``excess`` seconds, each other one gets as much, or all it
  waits for.

Of several refused by the server each is told to come after those before it (`retry_after.py`).

A recording longer than a bound is let in when nothing else waits under that bound; otherwise it
never would be.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from service.engine.retry_after import MAX_RETRY_AFTER_SECONDS, RetryAfterEstimator
from service.errors import OverloadedError, QuotaError

_SPEED_BEFORE_MEASURED = 1.0
"""Audio seconds generated per second, assumed until something is generated: what a slow machine
does. Warming up tells nothing better: silence ends after a few tokens."""
_SPEED_MEMORY_SECONDS = 30.0
"""The measured speed is that of the last so many seconds of work, older ones fading out."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Admission:
    """One recording's leave to wait; made by `Engine.admit`, and changed by the engine alone."""

    recording_id: int
    caller: str
    decoding: Decoding
    deadline: float | None
    """On the engine's clock."""
    waiting_audio_seconds: float
    """Admitted and not yet generated."""
    queue_seconds: float | None = None
    """From the submission of the recording's first segment until that was given a slot; what later
    segments wait for is the recording's own length, and not counted. None until it is generated."""
    is_background: bool = False
    """Of a job: it takes turns like any other, but what waits of jobs is bounded by how many of
    their recordings are begun, and takes no room from requests."""
    submitted: float | None = None
    """When the first segment was submitted, on the engine's clock."""
    futures: dict[int, asyncio.Future[GeneratedSegment]] = dataclasses.field(
        default_factory=dict[int, asyncio.Future[GeneratedSegment]]
    )
    """Of its segments in the engine, by index."""


class Admissions:
    """All recordings that were let in and have not left."""

    def __init__(
        self, *, bound_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts with none.

        Args:
            bound_seconds: Most audio admitted and not yet generated, over all callers.
            clock: Of the promises made to those refused.
        """
        self.speed = Speed()
        self.by_recording: dict[int, Admission] = {}
        self._estimator = RetryAfterEstimator(bound_seconds=bound_seconds)
        self._clock = clock
        self._bound = bound_seconds

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return sum(admission.waiting_audio_seconds for admission in self.by_recording.values())

    @property
    def _requests_audio_seconds(self) -> float:
        """What counts against the bound."""
        return sum(
            admission.waiting_audio_seconds
            for admission in self.by_recording.values()
            if not admission.is_background
        )

    def require_room(
        self, audio_seconds: float, *, caller: str, caller_bound_seconds: float | None
    ) -> None:
        """Refuses when there is no room for so many seconds more.

        Raises:
            QuotaError: The caller has as much waiting as it may, with the time after which it will
                have room.
            OverloadedError: The server has, with the time after which it will have room.
        """
        by_caller = self._waiting_by_caller()
        own = by_caller.pop(caller, 0.0)
        if caller_bound_seconds is not None:
            excess = _excess(own, audio_seconds, caller_bound_seconds)
            if excess is not None:
                work = excess + sum(min(waiting, excess) for waiting in by_caller.values())
                retry_after = self._seconds_for(work)
                raise QuotaError(
                    _refusal("of yours ", own, audio_seconds, caller_bound_seconds, retry_after),
                    retry_after_seconds=retry_after,
                )
        waiting = self._requests_audio_seconds
        if _excess(waiting, audio_seconds, self._bound) is not None:
            room_after = self.retry_after(audio_seconds)
            retry_after = self.promise(room_after, audio_seconds=audio_seconds)
            raise OverloadedError(
                _refusal("", waiting, audio_seconds, self._bound, retry_after),
                retry_after_seconds=retry_after,
            )

    def add(self, admission: Admission) -> None:
        """Lets a recording in; whether there is room was asked before."""
        self.by_recording[admission.recording_id] = admission
        if not admission.is_background:
            self._estimator.add_recording(admission.waiting_audio_seconds)

    @property
    def typical_audio_seconds(self) -> float:
        """Length of the recordings that come lately."""
        return self._estimator.typical_audio_seconds

    def promise(self, room_after: float, *, audio_seconds: float = 0.0) -> int:
        """Whole seconds after which to come back: those refused before come first.

        Args:
            room_after: Seconds until there is room for one recording.
            audio_seconds: Length of the one refused; 0 where it is not known.
        """
        return self._estimator.estimate(
            self._clock(),
            room_after=room_after,
            audio_seconds=audio_seconds,
            speed=self.speed.value,
        )

    def retry_after(self, audio_seconds: float) -> int:
        """Whole seconds, at least 1, until the server should have room for so much audio more."""
        excess = _excess(self._requests_audio_seconds, audio_seconds, self._bound) or 0.0
        beside = sum(a.waiting_audio_seconds for a in self.by_recording.values() if a.is_background)
        return self._seconds_for(excess + min(beside, excess))  # they take turns with jobs

    def seconds_to_next_end(self, caller: str | None = None) -> float:
        """Time until the first of the recordings here should be generated; 0 when there is none.

        Args:
            caller: The first of this caller's; absent: of anybody's.

        Callers take turns, and so do each caller's recordings: a caller's shortest recording ends
        when each of its recordings has got as much, and meanwhile each other caller has got as much
        as this one altogether.
        """
        rests: dict[str, list[float]] = {}
        for admission in self.by_recording.values():
            rests.setdefault(admission.caller, []).append(admission.waiting_audio_seconds)
        if caller is not None:
            own = rests.pop(caller, [0.0])
            first = len(own) * min(own)
            others = sum(min(sum(of_caller), first) for of_caller in rests.values())
            return (first + others) / self.speed.value
        # No caller waits for less than its own first end takes, so that all get the least of these.
        firsts = [len(of_caller) * min(of_caller) for of_caller in rests.values()]
        return len(firsts) * min(firsts, default=0.0) / self.speed.value

    def _waiting_by_caller(self) -> dict[str, float]:
        waiting: dict[str, float] = {}
        for admission in self.by_recording.values():
            before = waiting.get(admission.caller, 0.0)
            waiting[admission.caller] = before + admission.waiting_audio_seconds
        return waiting

    def _seconds_for(self, audio_seconds: float) -> int:
        seconds = math.ceil(audio_seconds / self.speed.value)
        return min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)


class Speed:
    """Audio seconds generated per second of the device's work, lately."""

    def __init__(self) -> None:
        self._audio_seconds = 0.0
        self._busy_seconds = 0.0

    @property
    def value(self) -> float:
        """The speed; a guess before anything is generated."""
        if self._audio_seconds == 0.0:
            return _SPEED_BEFORE_MEASURED
        return self._audio_seconds / max(self._busy_seconds, 1e-6)

    def add(self, audio_seconds: float, busy_seconds: float) -> None:
        """Counts work done; what was counted before fades by its time."""
        fading = math.exp(-busy_seconds / _SPEED_MEMORY_SECONDS)
        self._audio_seconds = fading * self._audio_seconds + audio_seconds
        self._busy_seconds = fading * self._busy_seconds + busy_seconds


def _excess(waiting: float, more: float, bound: float) -> float | None:
    """Seconds to be generated before ``more`` has room; None when it has."""
    if waiting == 0 or waiting + more < bound:
        return None
    # What is longer than the bound has room once nothing else waits.
    return min(waiting + more - bound, waiting)


def _refusal(whose: str, waiting: float, more: float, bound: float, retry_after: int) -> str:
    return (
        f"{waiting:.0f} seconds of audio {whose}are waiting and {more:.0f} more would pass"
        f" the bound of {bound:.0f}; try again in {retry_after} s"
    )
