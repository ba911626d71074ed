"""A recording of any kind -> mono float32 blocks at the spec's rate, in this process.

`isolation.py` runs this in a process of its own; nothing else should run it on what strangers
send. The container is known by its bytes (`containers.py`), and `part_source.py` chooses the
library that reads it. The range is cut at the recording's own rate, to the
sample, and resampled as if it were the whole recording. Memory is a few blocks, however long the
recording is.

What is wrong but survivable becomes a warning, and what is not an `AudioError`; the README of
this folder has the table.

A file may hold several recordings, joined end to end: `joined_source.py` reads them as one.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.recording import (
    AudioWarning,
    ReadingLimits,
    RecordingInfo,
    TimeRange,
    refuse_absent_track,
)
from mt3_model.audio.samples.mixing import Mixer
from mt3_model.audio.samples.resampling import Resampler
from mt3_model.audio.sources.joined_source import JoinedSource
from mt3_model.audio.sources.part_source import PartSource
from mt3_model.audio.structure import containers, inspection
from mt3_model.errors import AudioEmptyError, AudioFormatError

_DEFAULT_LIMITS = ReadingLimits()
_DURATION_SLACK_SECONDS = 1.0
"""Headers round: a start just past the header's end is judged by decoding."""
_LEAST_BYTES_PER_SECOND = 100
"""What any format needs, silence apart: a header that claims more seconds than the file has room
for is wrong, and the length is left to decoding."""


class RecordingReader:
    """One recording being read in this process."""

    def __init__(
        self,
        descriptor: int,
        *,
        sample_rate: int,
        asked: TimeRange,
        limits: ReadingLimits,
        audio_track: int | None = None,
    ) -> None:
        """Opens the file behind ``descriptor``, which stays the caller's.

        Args:
            descriptor: Of a regular file, open for reading.
            sample_rate: Hz of the blocks to give.
            asked: The part of the recording to give.
            limits: How much it may cost.
            audio_track: The audio track to read, counted from 1; None: the container's default.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioError: it cannot be read, or is too long, too wide or too short by its header.
        """
        self._descriptor = descriptor
        self._sample_rate = sample_rate
        self._asked = asked
        self._limits = limits
        self._audio_track = audio_track
        window = FileWindow(descriptor)
        self._container = containers.sniff_container(window)
        self._inspection = inspection.inspect_structure(window, self._container)
        self._source = self._open_source()
        try:
            self.info = self._described()
            refuse_absent_track(audio_track, self.info.audio_tracks)
            self._check_header()
        except BaseException:
            self._source.close()
            raise
        self.warnings: tuple[AudioWarning, ...] = ()
        """Complete once the blocks are exhausted."""

    def blocks(self) -> Iterator[Float32[np.ndarray, " _"]]:
        """Yields the range as mono blocks of about a second; some may be empty.

        Raises:
            AudioError: the range holds no sample, or more seconds than the limit.
        """
        rate = self.info.sample_rate
        first, past = self._asked.first_sample(rate), self._asked.past_sample(rate)
        if past is not None and past <= first:
            raise AudioEmptyError(
                f"the range from {self._asked.start:g} s to {self._asked.end} s holds no sample at "
                f"{rate:,} Hz; ask for a longer one"
            )
        mixer = Mixer(
            sample_rate=rate, start=self._asked.start, other_tracks=self.info.other_tracks
        )
        resampler = Resampler(source_rate=rate, target_rate=self._sample_rate)
        taken = 0
        for block in self._source.blocks(first):
            wanted = len(block) if past is None else min(len(block), past - first - taken)
            taken += wanted
            self._limits.check_seconds(taken / rate)
            yield resampler.resample(mixer.mix(block[:wanted]))
            if past is not None and first + taken >= past:
                break
        ended = past is None or first + taken < past
        damage = self._damage_warnings(end=self._asked.start + taken / rate, reached_end=ended)
        if taken == 0:
            self._refuse_empty(damage)
        yield resampler.resample(mixer.finish())
        yield resampler.finish()
        self.warnings = damage + mixer.warnings()

    def close(self) -> None:
        """Frees the decoder."""
        self._source.close()

    def _open_source(self) -> PartSource | JoinedSource:
        parts = self._inspection.parts
        try:
            if len(parts) == 1:
                return PartSource(self._descriptor, self._container, parts[0], self._audio_track)
            return JoinedSource(self._descriptor, self._container, parts, self._audio_track)
        except AudioFormatError as error:
            if not self._inspection.is_truncated:
                raise
            raise AudioFormatError(
                f"{error}. The file ends before its container does: send it whole"
            ) from error

    def _described(self) -> RecordingInfo:
        """What the recording says of itself, without a length that cannot be right."""
        info = self._source.info
        seconds = info.duration_seconds
        if seconds is None or self._source.is_measured:
            return info
        is_absurd = seconds * _LEAST_BYTES_PER_SECOND > os.fstat(self._descriptor).st_size
        is_passed = self._asked.start > seconds + _DURATION_SLACK_SECONDS
        if is_absurd or (is_passed and self._inspection.most_seconds is None):
            return dataclasses.replace(info, duration_seconds=None)
        return info

    def _check_header(self) -> None:
        """Refuses by what is known before decoding."""
        info = self.info
        self._limits.check_shape(sample_rate=info.sample_rate, channels=info.channels)
        lengths = (info.duration_seconds, self._inspection.most_seconds)
        seconds = min((length for length in lengths if length is not None), default=None)
        if seconds is None:
            return
        self._limits.check_seconds(self._asked.seconds_of(seconds))
        if self._asked.start > seconds + _DURATION_SLACK_SECONDS:
            raise AudioEmptyError(
                f"start is {self._asked.start:g} s, but the recording ends at {seconds:g} s; ask "
                "for an earlier start"
            )

    def _damage_warnings(self, *, end: float, reached_end: bool) -> tuple[AudioWarning, ...]:
        """Says what was missing or damaged in the range, which ended at ``end`` seconds."""
        found: list[AudioWarning] = []
        places = max(self._inspection.breaks, self._source.damaged_places)
        first = self._inspection.first_break
        first = self._source.first_damage if first is None else first
        if places and (first is None or first < end):
            found.append(
                AudioWarning(
                    code="corrupt_audio",
                    message=f"the recording is damaged in {places:,} or more places, the first "
                    f"{'somewhere' if first is None else f'at {first:.2f} s'}; what could not be "
                    "decoded is missing or silent",
                    start=first,
                )
            )
        if reached_end and (self._inspection.is_truncated or self._source.is_truncated):
            duration = self.info.duration_seconds
            promised = duration is not None and duration > end
            found.append(
                AudioWarning(
                    code="truncated_audio",
                    message=f"the recording breaks off at {end:.2f} s"
                    + (f" of {duration:.2f} s" if promised else "")
                    + "; what is there was read",
                    start=end,
                    end=duration if promised else None,
                )
            )
        return tuple(found)

    def _refuse_empty(self, damage: tuple[AudioWarning, ...]) -> NoReturn:
        """Says why there is not one sample."""
        length = max(0, self._source.position) / self.info.sample_rate
        if length == 0 and damage:
            raise AudioFormatError(f"none of its sound can be decoded: {damage[-1].message}")
        if length == 0:
            raise AudioEmptyError("the recording holds no sample; expected some sound")
        raise AudioEmptyError(
            f"start is {self._asked.start:g} s, but the recording ends at {length:g} s; ask for an "
            "earlier start"
        )


def read_blocks(
    path: pathlib.Path,
    *,
    sample_rate: int,
    start: float = 0.0,
    end: float | None = None,
    audio_track: int | None = None,
    limits: ReadingLimits = _DEFAULT_LIMITS,
) -> Iterator[Float32[np.ndarray, " _"]]:
    """Reads a recording in this process, for trusted files and tests.

    Args:
        path: The file; its name is not looked at.
        sample_rate: Hz of the blocks.
        start: First second wanted.
        end: Second after the last one wanted; absent: to the recording's end.
        audio_track: The audio track to read, counted from 1; absent: the container's default.
        limits: How much it may cost; time and memory are not limited here.

    Yields:
        Consecutive mono blocks, about a second each and none empty.

    Raises:
        AudioError: the recording cannot be used.
        OptionError: ``start`` or ``end`` is out of range.
    """
    asked = TimeRange(start=start, end=end)
    with open_file(path) as file:
        reading = RecordingReader(
            file.fileno(),
            sample_rate=sample_rate,
            asked=asked,
            limits=limits,
            audio_track=audio_track,
        )
        with contextlib.closing(reading):
            yield from (block for block in reading.blocks() if len(block))


def open_file(path: pathlib.Path) -> io.FileIO:
    """Opens a regular file for reading.

    Raises:
        AudioFormatError: it cannot be opened, or is a folder, pipe or device.
    """
    try:
        # A pipe without a writer would block here for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise AudioFormatError(
            f"the file cannot be opened: {error.strerror}; give a file that can be read"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AudioFormatError("it is a folder, pipe or device; give a regular file")
    return io.FileIO(descriptor)
