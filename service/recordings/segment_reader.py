"""Reads a recording on disk as segments, a batch at a time, ahead of the device.

Reading blocks (it waits for other processes), and so does writing the result, so both run in a
separate thread for each recording; the event loop awaits each batch while the next one is read.
"""

import asyncio
import concurrent.futures

from mt3_model.audio.recording import RecordingInfo, TimeRange
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Transcription
from mt3_model.postprocessing.two_passes import passes_of
from mt3_model.spectrogram.segments import Segment
from service.recordings.work import (
    Generation,
    LocalRecordingWork,
    OpenWork,
    PackedTokens,
    RecordingRequest,
    Write,
    Written,
)

_LEAST_BYTES_PER_SECOND = 4_000
"""32 kbit/s, the lowest usual bit rate of music; for recordings without a declared length."""
_LENGTH_SLACK_SECONDS = 1.0
"""Maximum by which the true length may exceed the declared one, because containers round."""
_FIRST_BATCH = 8
"""Maximum number of segments of the first batch; each following one has twice as many. While the 64
of an accelerator's batch were read, the device would be idle."""


_ADDED_TOGETHER = 8
"""Segments whose tokens are added together: a call costs as much as the notes of one."""


class SegmentReader:
    """Reads one recording's segments in batches, in a separate thread, and writes its result.

    All work runs in that thread in the order of the calls, so that a close after a cancellation
    follows the read in progress, without locks.
    """

    def __init__(
        self,
        request: RecordingRequest,
        *,
        batch_size: int,
        open_work: OpenWork = LocalRecordingWork,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            request: the recording and its options.
            batch_size: maximum number of segments read at a time.
            open_work: begins the work on the recording, here or in another process.
        """
        self._request = request
        self._batch_size = batch_size
        self._next_size = min(_FIRST_BATCH, batch_size)
        self._work = open_work(request)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._ahead: concurrent.futures.Future[tuple[Segment, ...]] | None = None
        self._is_read = False
        self._generated: list[GeneratedSegment] = []  # not added yet
        self._added: list[concurrent.futures.Future[None]] = []
        self._info: RecordingInfo | None = None
        self.seconds = 0.0
        """Seconds of sound read so far, of the requested range."""

    @property
    def info(self) -> RecordingInfo:
        """The description of the opened recording."""
        assert self._info is not None, "open comes first"
        return self._info

    @property
    def known_seconds(self) -> float | None:
        """Declared length of the range, in seconds; None if the recording declares none."""
        duration = self.info.duration_seconds
        return None if duration is None else self._range_seconds(duration)

    @property
    def total_seconds(self) -> float | None:
        """Length of the range as far as is known while it is read, in seconds.

        None without a declared length, and once more was read than declared.
        """
        known, read = self.known_seconds, self.seconds
        if known is None or read > known + _LENGTH_SLACK_SECONDS:
            return None
        return max(known, read)

    @property
    def estimated_seconds(self) -> float:
        """Length of the range in seconds; without a declared length, an estimate from above."""
        known = self.known_seconds
        if known is not None:
            return known
        return self._range_seconds(self._request.path.stat().st_size / _LEAST_BYTES_PER_SECOND)

    @property
    def estimated_work_seconds(self) -> float:
        """Seconds of audio to generate, estimated as the length is; a second pass doubles it."""
        return passes_of(self._request.options.quality) * self.estimated_seconds

    async def open(self) -> None:
        """Open the recording.

        Raises:
            AudioError: it cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording.
        """
        self._info = await asyncio.wrap_future(self._thread.submit(self._work.open))

    def read_ahead(self) -> None:
        """Start reading the next batch."""
        self._ahead = self._thread.submit(self._read_batch)

    async def next_batch(self) -> tuple[Segment, ...]:
        """Return the batch that `read_ahead` started; an empty one after the last."""
        assert self._ahead is not None, "read_ahead comes first"
        return await asyncio.wrap_future(self._ahead)

    def add(self, generated: GeneratedSegment) -> None:
        """Take the next segment's tokens, which become notes as soon as nothing is left to read."""
        self._generated.append(generated)
        if self._is_read and len(self._generated) >= _ADDED_TOGETHER:
            self._add_generated()

    async def conclude(self, generation: Generation) -> Transcription:
        """Make the transcription, after the tokens of all segments were added."""
        await self._add_rest()
        return await asyncio.wrap_future(self._thread.submit(self._work.conclude, generation))

    async def write(self, generation: Generation, write: Write) -> Written:
        """Make the transcription, as `conclude`, and write the answer."""
        await self._add_rest()
        return await asyncio.wrap_future(self._thread.submit(self._work.write, generation, write))

    async def close(self) -> None:
        """Close the recording, after the work in progress."""
        closing = self._thread.submit(self._work.close)
        self._thread.shutdown(wait=False)
        # A second cancellation must not take the call out of the thread's queue.
        await asyncio.shield(asyncio.wrap_future(closing))

    def _range_seconds(self, duration: float) -> float:
        options = self._request.options
        wanted = TimeRange(start=options.start, end=options.end)
        return min(wanted.seconds_of(duration), self._request.limits.max_seconds)

    def _read_batch(self) -> tuple[Segment, ...]:
        read = self._work.read(self._next_size)
        self._next_size = min(2 * self._next_size, self._batch_size)
        self.seconds = read.seconds
        self._is_read = not read.segments
        return read.segments

    def _add_generated(self) -> None:
        packed = PackedTokens.pack(self._generated)
        self._generated = []
        self._added.append(self._thread.submit(self._work.add, packed))

    async def _add_rest(self) -> None:
        """Add the tokens that are left, and wait for all; raises what adding raised."""
        if self._generated:
            self._add_generated()
        for added in self._added:
            await asyncio.wrap_future(added)
