"""Reads a recording on disk as segments, a batch at a time, ahead of the device.

Reading blocks (it waits for the decoding process), so it runs in a thread of the recording's own;
the event loop awaits each batch while the next one is read.
"""

import asyncio
import concurrent.futures
import itertools
from collections.abc import Iterator
from pathlib import Path

from mt3_model.audio.isolation import Recording, open_recording
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.postprocessing.cleaning import open_sound
from mt3_model.postprocessing.two_passes import passes_of, split_recording
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

_LEAST_BYTES_PER_SECOND = 4_000
"""32 kbit/s, the lowest usual bit rate of music; for recordings without a declared length."""
_LENGTH_SLACK_SECONDS = 1.0
"""Most by which the true length may exceed the declared one: containers round."""


class SegmentReader:
    """Reads one recording's segments in batches, in a thread of its own.

    Opening, reading and closing run in that thread in the order of the calls, so that a close after
    a cancellation follows the read in progress: no locks.
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
        """Prepare; nothing is opened yet.

        Args:
            path: any audio that `mt3_model/audio` reads.
            options: the caller's; the range and the audio track are used.
            spec: the model, for the length and sample rate of segments.
            limits: limits on length and channels.
            batch_size: segments read at a time.
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
        self.sound = open_sound(options, spec.spectrogram.sample_rate)
        """What the clean-up needs of the sound read so far; None where it needs none."""

    @property
    def recording(self) -> Recording:
        """The opened recording."""
        assert self._recording is not None, "open comes first"
        return self._recording

    @property
    def known_seconds(self) -> float | None:
        """Declared length of the range, in seconds; None if the recording declares none."""
        duration = self.recording.info.duration_seconds
        return None if duration is None else self._range_seconds(duration)

    @property
    def total_seconds(self) -> float | None:
        """Length of the range as far as is known while it is read, in seconds.

        None without a declared length, and once more was read than declared.
        """
        known, read = self.known_seconds, self.recording.seconds
        if known is None or read > known + _LENGTH_SLACK_SECONDS:
            return None
        return max(known, read)

    @property
    def recording_seconds(self) -> float | None:
        """Length of the whole recording, once its segments are read; None if it is unknown."""
        asked = TimeRange(start=self._options.start, end=self._options.end)
        return asked.recording_seconds(
            read=self.recording.seconds, declared=self.recording.info.duration_seconds
        )

    @property
    def estimated_seconds(self) -> float:
        """Length of the range in seconds; without a declared length, an estimate from above."""
        known = self.known_seconds
        if known is not None:
            return known
        return self._range_seconds(self._path.stat().st_size / _LEAST_BYTES_PER_SECOND)

    @property
    def estimated_work_seconds(self) -> float:
        """Seconds of audio to generate, estimated as the length is; a second pass doubles it."""
        return passes_of(self._options.quality) * self.estimated_seconds

    async def open(self) -> None:
        """Open the recording.

        Raises:
            AudioError: it cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording.
        """
        await asyncio.wrap_future(self._thread.submit(self._open))

    def read_ahead(self) -> None:
        """Start reading the next batch."""
        self._ahead = self._thread.submit(self._read_batch)

    async def next_batch(self) -> list[Segment]:
        """Return the batch that `read_ahead` started; an empty one after the last."""
        assert self._ahead is not None, "read_ahead comes first"
        return await asyncio.wrap_future(self._ahead)

    async def close(self) -> None:
        """Close the recording, after the read in progress."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closing)

    def _range_seconds(self, duration: float) -> float:
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
        self._segments = split_recording(
            self._recording.blocks(), self._spec, self._options.quality
        )

    def _read_batch(self) -> list[Segment]:
        batch = list(itertools.islice(self._segments, self._batch_size))
        if self.sound is not None:
            for segment in batch:
                if segment.is_second_pass:
                    continue  # the same sound as the first pass's
                self.sound.add_samples(segment.samples)
        return batch

    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close()
