"""Read all parts of a file, one after the other, as one recording.

Nearly every file has one part; files joined end to end have several. Each part is opened when it
is reached. The rate of the first part is that of the recording; parts at another rate are
resampled to it.
"""

import dataclasses
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import soxr

from mt3_model.audio.array_types import Float32
from mt3_model.audio.sources.part_source import PartSource
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.inspection import Part
from mt3_model.errors import AudioFormatError

_MEASURED_PARTS = 100
"""Parts opened in advance to add up their lengths; with more of them, no length is stated."""


class RecordingSource:
    """The parts of one file as one recording; see `AudioSource`."""

    def __init__(
        self,
        descriptor: int,
        container: Container,
        parts: Sequence[Part],
        audio_track: int | None = None,
        *,
        copies: Sequence[int] = (),
    ) -> None:
        """Open the first part.

        Args:
            descriptor: a regular file, open for reading; the caller closes it.
            container: the detected container of the file.
            parts: the recordings in the file, at least one.
            audio_track: the audio track to read, counted from 1; None for the container's default.
            copies: further descriptors of the file, with positions of their own.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioFormatError: the first part cannot be read.
        """
        self._descriptor = descriptor
        self._container = container
        self._parts = parts
        self._audio_track = audio_track
        self._copies = copies
        self._source = self._open(parts[0])
        self._collected_places = 0  # of the current part
        self.position = 0
        self.is_measured = self._source.is_measured
        """Whether the length is counted, and not only declared by a header."""
        self.is_truncated = False
        self.damaged_places = 0
        self.first_damage: float | None = None
        self.info = dataclasses.replace(
            self._source.info, duration_seconds=self._declared_seconds()
        )

    def blocks(self, first: int) -> Generator[Float32[np.ndarray, "_ C"]]:
        """Yield from sample ``first`` on; see `AudioSource`."""
        for number, part in enumerate(self._parts):
            is_last = number == len(self._parts) - 1
            if number > 0:
                self._source.close()
                try:
                    self._source = self._open(part)
                except AudioFormatError:
                    self._add_missing_end(is_last=is_last)
                    continue
                self._collected_places = 0
            begin = self.position
            for block, passed in self._blocks_at_rate(max(0, first - begin)):
                self.position = begin + passed
                self._collect_damage(begin)
                yield block
            self._collect_damage(begin)
            if self._source.is_truncated:
                self._add_missing_end(is_last=is_last)

    def close(self) -> None:
        """Free the decoder of the current part."""
        self._source.close()

    def _open(self, part: Part) -> PartSource:
        return PartSource(
            self._descriptor, self._container, part, self._audio_track, copies=self._copies
        )

    def _declared_seconds(self) -> float | None:
        """Return the length of all parts; sets `is_measured`."""
        if len(self._parts) > _MEASURED_PARTS:
            self.is_measured = False
            return None
        total = self._source.info.duration_seconds
        for part in self._parts[1:]:
            try:
                source = self._open(part)
            except AudioFormatError:
                continue
            self.is_measured &= source.is_measured
            seconds = source.info.duration_seconds
            total = None if total is None or seconds is None else total + seconds
            source.close()
        return total

    def _blocks_at_rate(self, first: int) -> Iterator[tuple[Float32[np.ndarray, "_ C"], int]]:
        """Yield the blocks of the current part, each with the samples passed after it."""
        source, rate = self._source, self.info.sample_rate
        if source.info.sample_rate == rate:
            for block in source.blocks(first):
                # A source counts a block only when the next one is requested.
                yield block, max(source.position, first) + len(block)
            yield np.empty((0, source.info.channels), np.float32), source.position
            return
        channels = source.info.channels
        stream = soxr.ResampleStream(
            source.info.sample_rate, rate, channels, dtype="float32", quality="HQ"
        )
        passed = 0
        for block in source.blocks(0):
            converted = stream.resample_chunk(_with_channels(block, channels))
            yield converted[max(0, first - passed) :], passed + len(converted)
            passed += len(converted)
        converted = stream.resample_chunk(np.empty((0, channels), np.float32), last=True)
        yield converted[max(0, first - passed) :], passed + len(converted)

    def _collect_damage(self, begin: int) -> None:
        """Add the damage found in the current part, which begins at sample ``begin``."""
        places = self._source.damaged_places - self._collected_places
        if places:
            self._collected_places += places
            start = begin / self.info.sample_rate
            self._add_damage(places, start + (self._source.first_damage or 0.0))

    def _add_missing_end(self, *, is_last: bool) -> None:
        """Count a part that ends too soon: as truncation at the end, else as damage."""
        if is_last:
            self.is_truncated = True
        else:
            self._add_damage(1, self.position / self.info.sample_rate)

    def _add_damage(self, places: int, seconds: float) -> None:
        self.damaged_places += places
        if self.first_damage is None:
            self.first_damage = seconds


def _with_channels(
    block: Float32[np.ndarray, "_ C"], channels: int
) -> Float32[np.ndarray, "_ channels"]:
    """Return a block with ``channels`` channels; all are the mean if it had another number."""
    if block.shape[1] != channels:
        return np.repeat(np.mean(block, axis=1, keepdims=True), channels, axis=1)
    return np.ascontiguousarray(block)
