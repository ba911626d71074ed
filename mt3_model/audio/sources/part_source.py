"""Read one part of a file with the library that reads it best.

libsndfile comes first where it supports the container, because librosa, and so the original, uses
it first. FFmpeg reads the rest, and continues where libsndfile stops in the middle. Codec delay
that no decoder drops is dropped here.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileSlice, FileWindow
from mt3_model.audio.recording import RecordingInfo
from mt3_model.audio.sources.audio_source import AudioSource, DecoderStoppedError
from mt3_model.audio.sources.soundfile_source import SoundfileSource
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.flac_frames import frames_follow
from mt3_model.audio.structure.inspection import Part
from mt3_model.errors import AudioFormatError

_MP3_FRAME_SECONDS = 0.072
"""The longest frame: 576 samples at 8 kHz."""
_MEASURED = frozenset({"wav", "w64", "aiff", "au"})
"""Containers whose samples libsndfile counts from the bytes of the file."""


class PartSource:
    """One part of a file, open in one of the libraries; see `AudioSource`."""

    def __init__(
        self,
        descriptor: int,
        container: Container,
        part: Part,
        audio_track: int | None = None,
        *,
        copies: Sequence[int] = (),
    ) -> None:
        """Open the part.

        Args:
            descriptor: a regular file, open for reading; the caller closes it.
            container: the detected container of the file.
            part: the part to read.
            audio_track: the audio track to read, counted from 1; None for the container's default.
            copies: further descriptors of the file, with positions of their own.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioFormatError: no library can read it.
        """
        self._descriptor = descriptor
        self._container = container
        self._part = part
        self._audio_track = audio_track
        self._copies = copies
        self._skip = part.skip
        self._source = self._open()
        self.info = self._source.info
        if part.seconds is not None:
            self.info = dataclasses.replace(self.info, duration_seconds=part.seconds)

    @property
    def is_measured(self) -> bool:
        """Whether its length is counted, and not only declared by a header."""
        return isinstance(self._source, SoundfileSource) and self._container.name in _MEASURED

    @property
    def position(self) -> int:
        """Samples read so far; see `AudioSource`."""
        return max(0, self._source.position - self._skip)

    @property
    def is_truncated(self) -> bool:
        """Whether the sound was found to end too soon; see `AudioSource`."""
        return self._source.is_truncated

    @property
    def damaged_places(self) -> int:
        """Number of places that could not be decoded; see `AudioSource`."""
        return self._source.damaged_places

    @property
    def first_damage(self) -> float | None:
        """Seconds at the first of them; see `AudioSource`."""
        return self._source.first_damage

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yield from sample ``first`` on; FFmpeg continues where libsndfile stops."""
        first += self._skip
        try:
            yield from self._source.blocks(first)
        except DecoderStoppedError as stopped:
            self._source.is_truncated = True
            stopped_at, is_damaged = stopped.sample, True
        else:
            if not self._has_uncounted_frames():
                return
            stopped_at, is_damaged = self._source.position, False
        if not isinstance(self._source, SoundfileSource):
            return
        try:
            successor = self._open_ffmpeg()
        except AudioFormatError:
            return
        self._source.close()
        self._source = successor
        try:
            yield from successor.blocks(max(first, stopped_at))
        except DecoderStoppedError:
            successor.is_truncated = True
        if is_damaged and not (successor.is_truncated or successor.damaged_places):
            successor.damaged_places = 1  # the place where libsndfile stopped
            successor.first_damage = stopped_at / self.info.sample_rate

    def close(self) -> None:
        """Free the decoder."""
        self._source.close()

    def _has_uncounted_frames(self) -> bool:
        """Whether a flac has more frames than its header counts; libsndfile ends at the count."""
        source, part = self._source, self._part
        if self._container is not containers.FLAC or not isinstance(source, SoundfileSource):
            return False
        offset = source.byte_position + (0 if part.is_whole_file else part.start)
        if part.stop is not None and offset >= part.stop:
            return False
        return frames_follow(FileWindow(self._descriptor), offset)

    def _open(self) -> AudioSource:
        if not self._container.is_libsndfile or self._part.needs_ffmpeg:
            return self._open_ffmpeg()
        try:
            source = (
                SoundfileSource(self._descriptor, self._copies)
                if self._part.is_whole_file
                else SoundfileSource(self._slice())
            )
        except AudioFormatError as refused:
            # libsndfile does not support the codec (aac in caf) or refuses the damage. If FFmpeg
            # cannot read it either, the error gives both reasons.
            try:
                return self._open_ffmpeg()
            except AudioFormatError as error:
                raise AudioFormatError(f"{error} ({refused})") from error
        if not self._ends_too_soon(source.info):
            return source
        try:
            successor = self._open_ffmpeg()
        except AudioFormatError:
            return source
        source.close()
        return successor

    def _ends_too_soon(self, info: RecordingInfo) -> bool:
        """Whether libsndfile would stop before the sound ends."""
        if info.duration_seconds is None:
            return self._container is containers.FLAC  # without a total, it ends in an error
        # A wav whose writer did not fill in the size (0) still has its samples. For an mp3 without
        # a count of frames, libsndfile estimates the length from the first frame.
        seconds = self._part.seconds
        is_too_short = seconds is not None and info.duration_seconds < seconds - _MP3_FRAME_SECONDS
        return info.duration_seconds == 0 or is_too_short

    def _open_ffmpeg(self) -> AudioSource:
        # Imported here, because it takes 0.1 s that most recordings do not need.
        from mt3_model.audio.sources.ffmpeg_source import FfmpegSource  # noqa: PLC0415

        source = FfmpegSource(
            self._slice(), self._container, self._part.clock, audio_track=self._audio_track
        )
        if self._part.skips_first_frame:
            self._skip = source.first_frame_samples
        return source

    def _slice(self) -> FileSlice:
        part = self._part
        return FileSlice(self._descriptor, start=part.start, stop=part.stop, patches=part.patches)
