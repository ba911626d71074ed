"""Read a recording of any format into mono float32 blocks at the model's rate, in this process.

    bytes -> container             structure/containers.py
          -> parts, cuts, damage   structure/inspection.py
          -> channels at own rate  sources/recording_source.py   libsndfile or FFmpeg
          -> the requested range   here                          cut to the sample
          -> mono                  samples/mixing.py
          -> 16 kHz                samples/resampling.py         as if it were the whole recording

The first steps up to the mix run in a thread of their own, ahead of the last one (`read_ahead.py`).
`isolation.py` runs this in a separate process; do not run it on untrusted files elsewhere. Memory
is a few blocks, however long the recording is. If some sound can be read despite a problem, the
problem becomes a warning, otherwise an `AudioError`; the README of this folder has the table.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Sequence
from typing import NoReturn, TypeAlias

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.read_ahead import read_ahead
from mt3_model.audio.recording import (
    AudioWarning,
    ReadingLimits,
    RecordingInfo,
    TimeRange,
    refuse_absent_track,
)
from mt3_model.audio.samples.mixing import Mixer
from mt3_model.audio.samples.resampling import Resampler
from mt3_model.audio.sources.recording_source import RecordingSource
from mt3_model.audio.structure import containers, inspection
from mt3_model.audio.thread_limits import may_use_threads
from mt3_model.errors import AudioEmptyError, AudioFormatError

_Mono: TypeAlias = Float32[np.ndarray, " _"]
_BLOCKS_AHEAD = 4
"""Blocks of a second that wait to be resampled."""
_LEAST_SECONDS_IN_PARALLEL = 60.0
_LEAST_SECONDS_AHEAD = 5.0
"""Less sound is decoded and mixed within a few milliseconds."""
_DURATION_SLACK_SECONDS = 1.0
"""Headers round, so for a start just past the end that the header declares, decoding decides."""
_LEAST_BYTES_PER_SECOND = 100
"""Lower bound for any format, except for silence. A header that declares more seconds than the file
has bytes for is wrong, and only decoding shows the length."""


class RecordingReader:
    """Reads one recording in this process."""

    def __init__(
        self,
        descriptor: int,
        *,
        sample_rate: int,
        time_range: TimeRange,
        limits: ReadingLimits,
        audio_track: int | None = None,
        copies: Sequence[int] = (),
    ) -> None:
        """Open the recording and check what its header declares.

        Args:
            descriptor: a regular file, open for reading; the caller closes it.
            sample_rate: sample rate of the blocks in Hz.
            time_range: the part of the recording to read.
            limits: limits on length, channels and sample rate.
            audio_track: the audio track to read, counted from 1; None for the container's default.
            copies: further descriptors of the file, each opened on its own, so that it has its own
                position; if there are two or more, a flac or Ogg Vorbis is decoded in as many
                threads.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioError: it cannot be read, or the header declares a length, number of channels or
                sample rate outside the limits.
        """
        self._descriptor = descriptor
        self._sample_rate = sample_rate
        self._time_range = time_range
        self._limits = limits
        self._audio_track = audio_track
        self._has_threads = may_use_threads()
        # Several threads would decode much of what follows a short range, for nothing.
        is_short = time_range.end is not None and (
            time_range.end - time_range.start < _LEAST_SECONDS_IN_PARALLEL
        )
        self._copies = copies if self._has_threads and not is_short else ()
        window = FileWindow(descriptor)
        self._container = containers.sniff_container(window)
        self._inspection = inspection.inspect_structure(window, self._container)
        self._source = self._open_source()
        try:
            self.info = self._describe()
            refuse_absent_track(audio_track, self.info.audio_tracks)
            self._check_header()
        except BaseException:
            self._source.close()
            raise
        self._stop_thread: Callable[[], None] | None = None
        self._found: tuple[AudioWarning, ...] = ()
        self.warnings: tuple[AudioWarning, ...] = ()
        """Complete once the blocks are exhausted."""

    def blocks(self) -> Generator[_Mono]:
        """Yield the range as mono blocks of about a second; some may be empty.

        Raises:
            AudioError: the range has no sample, or more seconds than the limit.
        """
        rate = self.info.sample_rate
        wanted = self._time_range
        first, past = wanted.first_sample(rate), wanted.past_sample(rate)
        if past is not None and past <= first:
            raise AudioEmptyError(
                f"the range from {wanted.start:g} s to {wanted.end} s contains no sample at "
                f"{rate:,} Hz; choose a longer one"
            )
        resampler = Resampler(source_rate=rate, target_rate=self._sample_rate)
        with contextlib.closing(self._ahead(self._mono_blocks(first, past))) as blocks:
            self._stop_thread = blocks.close
            for block in blocks:
                yield resampler.resample(block)
        yield resampler.finish()
        self.warnings = self._found

    def close(self) -> None:
        """Free the decoder."""
        if self._stop_thread is not None:
            self._stop_thread()
        self._source.close()

    def _ahead(self, mono: Generator[_Mono]) -> Generator[_Mono]:
        """Let a thread decode and mix, if there is enough to do."""
        duration = self.info.duration_seconds
        seconds = None if duration is None else self._time_range.seconds_of(duration)
        is_short = seconds is not None and seconds < _LEAST_SECONDS_AHEAD
        if is_short or not self._has_threads:
            return mono
        return read_ahead(mono, most=_BLOCKS_AHEAD)

    def _mono_blocks(self, first: int, past: int | None) -> Generator[_Mono]:
        """Yield the samples ``[first, past)`` as mono blocks at the recording's own rate.

        Sets `_found` at the end.
        """
        rate, wanted = self.info.sample_rate, self._time_range
        mixer = Mixer(sample_rate=rate, start=wanted.start, other_tracks=self.info.other_tracks)
        taken = 0
        with contextlib.closing(self._source.blocks(first)) as blocks:
            for block in blocks:
                count = len(block) if past is None else min(len(block), past - first - taken)
                taken += count
                self._limits.check_seconds(taken / rate)
                yield mixer.mix(block[:count])
                if past is not None and first + taken >= past:
                    break
        ended = past is None or first + taken < past
        damage = self._damage_warnings(end=wanted.start + taken / rate, reached_end=ended)
        if taken == 0:
            self._refuse_empty(damage)
        yield mixer.finish()
        self._found = damage + mixer.warnings()

    def _open_source(self) -> RecordingSource:
        parts = self._inspection.parts
        try:
            return RecordingSource(
                self._descriptor, self._container, parts, self._audio_track, copies=self._copies
            )
        except AudioFormatError as error:
            if not self._inspection.is_truncated:
                raise
            raise AudioFormatError(f"{error}. The file is cut off: send all of it") from error

    def _describe(self) -> RecordingInfo:
        """Return the recording's own description, without a length that cannot be right."""
        info = self._source.info
        seconds = info.duration_seconds
        if seconds is None or self._source.is_measured:
            return info
        is_absurd = seconds * _LEAST_BYTES_PER_SECOND > os.fstat(self._descriptor).st_size
        is_passed = self._time_range.start > seconds + _DURATION_SLACK_SECONDS
        if is_absurd or (is_passed and self._inspection.most_seconds is None):
            return dataclasses.replace(info, duration_seconds=None)
        return info

    def _check_header(self) -> None:
        """Check the limits and the range against what is known before decoding."""
        info = self.info
        self._limits.check_shape(sample_rate=info.sample_rate, channels=info.channels)
        lengths = (info.duration_seconds, self._inspection.most_seconds)
        seconds = min((length for length in lengths if length is not None), default=None)
        if seconds is None:
            return
        self._limits.check_seconds(self._time_range.seconds_of(seconds))
        if self._time_range.start > seconds + _DURATION_SLACK_SECONDS:
            raise self._start_error(seconds)

    def _damage_warnings(self, *, end: float, reached_end: bool) -> tuple[AudioWarning, ...]:
        """Return warnings of damage and missing sound in the range.

        Args:
            end: seconds of the recording's clock at the last sample read.
            reached_end: whether the recording ended before the range.
        """
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
            is_longer = duration is not None and duration > end
            found.append(
                AudioWarning(
                    code="truncated_audio",
                    message=f"the recording is cut off at {end:.2f} s"
                    + (f" of {duration:.2f} s" if is_longer else "")
                    + "; everything before that was read",
                    start=end,
                    end=duration if is_longer else None,
                )
            )
        return tuple(found)

    def _refuse_empty(self, damage: tuple[AudioWarning, ...]) -> NoReturn:
        """Raise the error for a range without any sample."""
        length = max(0, self._source.position) / self.info.sample_rate
        if length == 0 and damage:
            raise AudioFormatError(f"none of its sound can be decoded: {damage[-1].message}")
        if length == 0:
            raise AudioEmptyError("the recording has no samples; expected some sound")
        raise self._start_error(length)

    def _start_error(self, seconds: float) -> AudioEmptyError:
        return AudioEmptyError(
            f"start is {self._time_range.start:g} s, but the recording ends at {seconds:g} s; ask "
            "for an earlier start"
        )
