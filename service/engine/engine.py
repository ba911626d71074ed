"""The async face of the device: who may wait, and whose batch comes next.

The life of a recording here:

1. It asks for admission with its length in seconds. The sum of what is admitted and not yet
   generated is bounded; above the bound it is refused at once, told when to come back.
2. It hands over one batch of its segments at a time and awaits the tokens. Batches wait in one
   line, first come first served, before the single thread that touches the device. Because nobody
   has more than one batch in the line, recordings take turns: three minutes of music never wait
   for the whole of another's two hours, only for one batch of it.
3. Cancelled while its batch waits, the batch leaves the line; cancelled while it runs, the tokens
   are thrown away. Leaving the admission gives its seconds back either way.

A batch holds segments of one recording only; the face would be the same if it did not.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Sequence

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from service.engine.backend import Backend
from service.errors import OverloadedError

_SPEED_BEFORE_MEASURED = 1.0
"""Audio seconds generated per second, assumed for Retry-After until the first batch is done."""
_SPEED_MEMORY = 0.8
"""Weight of the past in the moving average of the speed: about the last five batches."""
_MAX_RETRY_AFTER_SECONDS = 3_600


@dataclasses.dataclass(kw_only=True, slots=True)
class Admission:
    """One recording's leave to wait; made by `Engine.admit`."""

    decoding: Decoding
    waiting_audio_seconds: float
    """Admitted and not yet generated."""
    queue_seconds: float = 0.0
    """Sum over its batches of the time spent in the line."""


class Engine:
    """Serves one device to many recordings."""

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        *,
        max_waiting_audio_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._spec = spec
        self._bound = max_waiting_audio_seconds
        self._clock = clock
        self._device = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="device")
        self._admissions: list[Admission] = []
        self._speed = _SPEED_BEFORE_MEASURED
        self._is_speed_measured = False

    @property
    def batch_size(self) -> int:
        """Most segments that `generate` takes at once."""
        return self._backend.batch_size

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return sum(admission.waiting_audio_seconds for admission in self._admissions)

    async def warm_up(self, decoding: Decoding) -> None:
        """Compiles what `generate` needs, on the device's own thread."""
        await asyncio.get_running_loop().run_in_executor(
            self._device, self._backend.warm_up, decoding
        )

    def require_capacity(self, audio_seconds: float = 0.0) -> None:
        """Refuses when there is no room for so many seconds more.

        A recording longer than the bound itself is let in when nothing else waits.

        Raises:
            OverloadedError: With the time after which there should be room.
        """
        waiting = self.waiting_audio_seconds
        if waiting == 0 or waiting + audio_seconds < self._bound:
            return
        excess = waiting + audio_seconds - self._bound
        retry_after = min(max(math.ceil(excess / self._speed), 1), _MAX_RETRY_AFTER_SECONDS)
        raise OverloadedError(
            f"{waiting:.0f} seconds of audio are waiting and {audio_seconds:.0f} more would pass"
            f" the bound of {self._bound:.0f}; try again in {retry_after} s",
            retry_after_seconds=retry_after,
        )

    @contextlib.contextmanager
    def admit(self, *, audio_seconds: float, decoding: Decoding) -> Generator[Admission]:
        """Lets one recording wait, or refuses at once.

        Args:
            audio_seconds: Its length; an estimate from above where it is not known.
            decoding: The rule of selection for all its segments.

        Raises:
            OverloadedError: Too much is waiting already.
        """
        self.require_capacity(audio_seconds)
        admission = Admission(decoding=decoding, waiting_audio_seconds=audio_seconds)
        self._admissions.append(admission)
        try:
            yield admission
        finally:
            self._admissions = [other for other in self._admissions if other is not admission]

    async def generate(
        self, batch: Sequence[Segment], admission: Admission
    ) -> list[GeneratedSegment]:
        """Generates the tokens of one recording's next segments.

        Args:
            batch: 1 to ``batch_size`` segments.
            admission: The recording's; one call at a time for each.
        """
        assert 0 < len(batch) <= self.batch_size, "a batch has 1 to batch_size segments"
        submitted = self._clock()
        generated, started, ended = await asyncio.get_running_loop().run_in_executor(
            self._device, self._run, batch, admission.decoding
        )
        frames = sum(segment.frames for segment in batch)
        seconds = frames / self._spec.spectrogram.frames_per_second
        self._measure(seconds, ended - started)
        admission.queue_seconds += started - submitted
        admission.waiting_audio_seconds = max(admission.waiting_audio_seconds - seconds, 0.0)
        return generated

    def close(self) -> None:
        """Lets the running batch end and forgets those in the line."""
        self._device.shutdown(wait=False, cancel_futures=True)

    def _run(
        self, batch: Sequence[Segment], decoding: Decoding
    ) -> tuple[list[GeneratedSegment], float, float]:
        """On the device's thread: the tokens, with the times of start and end."""
        started = self._clock()
        generated = self._backend.generate(batch, decoding)
        return generated, started, self._clock()

    def _measure(self, audio_seconds: float, device_seconds: float) -> None:
        speed = audio_seconds / max(device_seconds, 1e-6)
        if self._is_speed_measured:
            self._speed = _SPEED_MEMORY * self._speed + (1 - _SPEED_MEMORY) * speed
        else:
            self._speed, self._is_speed_measured = speed, True
