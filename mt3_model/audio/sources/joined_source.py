"""Several recordings in one file -> their samples, one after the other.

Each part has decoders of its own and is opened when it is reached. The first one's rate is that
of the whole; parts at another rate are resampled to it.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import soxr

from mt3_model.audio.array_types import Float32
from mt3_model.audio.sources.part_source import PartSource
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.inspection import Part
from mt3_model.errors import AudioFormatError

_DESCRIBED_PARTS = 100
"""Parts opened in advance, to know how long they are together; of more no length is given."""


class JoinedSource:
    """The parts of one file, read as one recording; see `Source`."""

    def __init__(
        self,
        descriptor: int,
        container: Container,
        parts: Sequence[Part],
        audio_track: int | None = None,
    ) -> None:
        """Open the first part in the file behind ``descriptor``, which stays the caller's.

        Raises:
            AudioFormatError: the first part cannot be read.
        """
        self._descriptor = descriptor
        self._container = container
        self._parts = parts
        self._audio_track = audio_track
        self._source = self._open(parts[0])
        self._base = 0
        self.is_measured = self._source.is_measured
        self.is_truncated = False
        self.damaged_places = 0
        self.first_damage: float | None = None
        self.info = dataclasses.replace(
            self._source.info, duration_seconds=self._declared_seconds()
        )

    @property
    def position(self) -> int:
        """Samples passed so far; see `Source`."""
        return self._base

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yields from sample ``first`` on; see `Source`."""
        for number, part in enumerate(self._parts):
            if number > 0:
                self._source.close()
                try:
                    self._source = self._open(part)
                except AudioFormatError:
                    self._note_end(is_whole=False, is_last=number == len(self._parts) - 1)
                    continue
            begin = self._base
            for block, passed in self._blocks_at_rate(max(0, first - begin)):
                self._base = begin + passed
                yield block
            if self._source.damaged_places:
                self._note_damage(
                    self._source.damaged_places,
                    begin / self.info.sample_rate + (self._source.first_damage or 0.0),
                )
            self._note_end(
                is_whole=not self._source.is_truncated, is_last=number == len(self._parts) - 1
            )

    def _open(self, part: Part) -> PartSource:
        return PartSource(self._descriptor, self._container, part, self._audio_track)

    def close(self) -> None:
        """Frees the decoder of the part being read."""
        self._source.close()

    def _declared_seconds(self) -> float | None:
        if len(self._parts) > _DESCRIBED_PARTS:
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
        """Yields the current part's blocks from ``first`` on, and the samples passed with each."""
        source, rate = self._source, self.info.sample_rate
        if source.info.sample_rate == rate:
            for block in source.blocks(first):
                # A source counts a block when it is asked for the next one.
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

    def _note_end(self, *, is_whole: bool, is_last: bool) -> None:
        """A part that ends too soon is damage in the middle, or the end's truncation."""
        if is_whole:
            return
        if is_last:
            self.is_truncated = True
        else:
            self._note_damage(1, self._base / self.info.sample_rate)

    def _note_damage(self, places: int, seconds: float) -> None:
        self.damaged_places += places
        if self.first_damage is None:
            self.first_damage = seconds


def _with_channels(
    block: Float32[np.ndarray, "_ C"], channels: int
) -> Float32[np.ndarray, "_ channels"]:
    """Returns a block with so many channels; their mean in each where it had another number."""
    if block.shape[1] != channels:
        return np.repeat(np.mean(block, axis=1, keepdims=True), channels, axis=1)
    return np.ascontiguousarray(block)
