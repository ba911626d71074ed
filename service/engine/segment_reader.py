"""A recording on disk -> its segments, a batch at a time, read ahead of the device.

Reading blocks (it waits for the process that decodes), so it happens in a thread of the
recording's own; the event loop awaits each batch while the next is being read.
"""

import asyncio
import concurrent.futures
import itertools
from collections.abc import Iterator
from pathlib import Path

from mt3_model.audio.isolation import Recording, open_recording
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, split_segments

_LEAST_BYTES_PER_SECOND = 4_000
"""32 kbit/s, the least that music is usually coded with: for recordings that do not say their
length."""
_LENGTH_SLACK_SECONDS = 1.0
"""By how much a true length may differ from the declared one: containers round."""


class SegmentReader:
    """Reads one recording's segments in batches, in a thread of its own.

    Opening, reading and closing happen in that one thread in the order asked for, so that a close
    after a cancellation simply comes after the read it overtook: no locks.
    """

    def __init__(
        self,
        path: Path,
        options: TranscriptionOptions,
        spec: ModelSpec,
        *,
        limits: ReadingLimits,
        batch_size: int,
    ) -> None:
        """Prepares; nothing is opened yet.

        Args:
            path: Any audio that `mt3_model/audio` reads.
            options: Of them the range.
            spec: Gives the segments' length and rate.
            limits: How much the recording may cost.
            batch_size: Segments read at a time.
        """
        self._path = path
        self._options = options
        self._spec = spec
        self._limits = limits
        self._batch_size = batch_size
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._ahead: concurrent.futures.Future[list[Segment]] | None = None
        self._segments: Iterator[Segment] = iter(())
        self._recording: Recording | None = None

    @property
    def recording(self) -> Recording:
        """The opened recording."""
        assert self._recording is not None, "open comes first"
        return self._recording

    @property
    def known_seconds(self) -> float | None:
        """Seconds that will be read by the recording's own account; None where it gives none."""
        duration = self.recording.info.duration_seconds
        return None if duration is None else self._asked_seconds(duration)

    @property
    def total_seconds(self) -> float | None:
        """Seconds that the range has, as far as is known while it is read.

        A declared length is a hint. None where there is none, and from when on more was read than
        was declared: then only the end tells.
        """
        known, read = self.known_seconds, self.recording.seconds
        if known is None or read > known + _LENGTH_SLACK_SECONDS:
            return None
        return max(known, read)

    @property
    def recording_seconds(self) -> float | None:
        """Length of the whole recording, once its segments are read; None where it is unknown."""
        asked = TimeRange(start=self._options.start, end=self._options.end)
        return asked.recording_seconds(
            read=self.recording.seconds, declared=self.recording.info.duration_seconds
        )

    @property
    def estimated_seconds(self) -> float:
        """Seconds that will be read: where no header says it, an estimate, rather too long."""
        known = self.known_seconds
        if known is not None:
            return known
        return self._asked_seconds(self._path.stat().st_size / _LEAST_BYTES_PER_SECOND)

    async def open(self) -> None:
        """Opens the recording.

        Raises:
            AudioError: It cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording.
        """
        await asyncio.wrap_future(self._thread.submit(self._open))

    def read_ahead(self) -> None:
        """Starts reading the next batch."""
        self._ahead = self._thread.submit(self._read_batch)

    async def next_batch(self) -> list[Segment]:
        """Gives the batch that `read_ahead` started; an empty one after the last."""
        assert self._ahead is not None, "read_ahead comes first"
        return await asyncio.wrap_future(self._ahead)

    async def close(self) -> None:
        """Closes the recording, after whatever is being read."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closing)

    def _asked_seconds(self, duration: float) -> float:
        asked = TimeRange(start=self._options.start, end=self._options.end)
        return min(asked.seconds_of(duration), self._limits.max_seconds)

    def _open(self) -> None:
        self._recording = open_recording(
            self._path,
            sample_rate=self._spec.spectrogram.sample_rate,
            start=self._options.start,
            end=self._options.end,
            audio_track=self._options.audio_track,
            limits=self._limits,
        )
        self._segments = split_segments(self._recording.blocks(), self._spec)

    def _read_batch(self) -> list[Segment]:
        return list(itertools.islice(self._segments, self._batch_size))

    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close()
