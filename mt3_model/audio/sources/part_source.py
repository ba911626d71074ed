"""One recording of a file -> its samples, from the library that reads it best.

libsndfile comes first where it reads the container, because librosa and so the original asks it
first. FFmpeg's libraries read the rest, and go on where libsndfile gives up in the middle. What
is the codec's delay, and no decoder drops, is dropped here.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileSlice, FileWindow
from mt3_model.audio.recording import RecordingInfo
from mt3_model.audio.sources.audio_source import DecoderStoppedError, Source
from mt3_model.audio.sources.soundfile_source import SoundfileSource
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.flac_frames import frames_follow
from mt3_model.audio.structure.inspection import Part
from mt3_model.errors import AudioFormatError

_MP3_FRAME_SECONDS = 0.072
"""The longest frame: 576 samples at 8 kHz."""
_MEASURED = frozenset({"wav", "w64", "aiff", "au"})
"""Containers of which libsndfile counts the samples by the file's bytes."""


class PartSource:
    """One recording of a file, open in one of the libraries; see `Source`."""

    def __init__(
        self, descriptor: int, container: Container, part: Part, audio_track: int | None = None
    ) -> None:
        """Open the part in the file behind ``descriptor``, which stays the caller's.

        Args:
            descriptor: a regular file, open for reading.
            container: what the file was found to be.
            part: the bytes of the recording in it.
            audio_track: the audio track to read, counted from 1; None for the container's default.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioFormatError: no library can read it.
        """
        self._descriptor = descriptor
        self._container = container
        self._part = part
        self._audio_track = audio_track
        self._skip = part.skip
        self._source = self._open()
        self.info = self._source.info
        if part.seconds is not None:
            self.info = _with_duration(self.info, part.seconds)

    @property
    def is_measured(self) -> bool:
        """Whether its duration is no claim of a header, but counted."""
        return isinstance(self._source, SoundfileSource) and self._container.name in _MEASURED

    @property
    def position(self) -> int:
        """Samples passed so far; see `Source`."""
        return max(0, self._source.position - self._skip)

    @property
    def is_truncated(self) -> bool:
        """Whether the sound stops before it should; see `Source`."""
        return self._source.is_truncated

    @property
    def damaged_places(self) -> int:
        """Places that could not be decoded; see `Source`."""
        return self._source.damaged_places

    @property
    def first_damage(self) -> float | None:
        """Seconds at the first of them; see `Source`."""
        return self._source.first_damage

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yields from sample ``first`` on, through a second library where the first gives up."""
        first += self._skip
        try:
            yield from self._source.blocks(first)
        except DecoderStoppedError as stopped:
            self._source.is_truncated = True
            stopped_at, is_damaged = stopped.sample, True
        else:
            if not self._goes_on():
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
            successor.damaged_places = 1  # what libsndfile stumbled over
            successor.first_damage = stopped_at / self.info.sample_rate

    def close(self) -> None:
        """Frees the decoder."""
        self._source.close()

    def _goes_on(self) -> bool:
        """Whether a flac has more frames than its header counts, at which libsndfile ends."""
        source, part = self._source, self._part
        if self._container is not containers.FLAC or not isinstance(source, SoundfileSource):
            return False
        offset = source.byte_position + (0 if part.is_whole_file else part.start)
        if part.stop is not None and offset >= part.stop:
            return False
        return frames_follow(FileWindow(self._descriptor), offset)

    def _open(self) -> Source:
        if not self._container.is_libsndfile or self._part.needs_ffmpeg:
            return self._open_ffmpeg()
        try:
            source = SoundfileSource(
                self._descriptor if self._part.is_whole_file else self._slice()
            )
        except AudioFormatError as refused:
            # A codec or a wound of this container that libsndfile does not take, such as aac in
            # caf; where FFmpeg does not take it either, the error names both reasons.
            try:
                return self._open_ffmpeg()
            except AudioFormatError as error:
                raise AudioFormatError(f"{error} ({refused})") from error
        if not self._stops_short(source.info):
            return source
        try:
            successor = self._open_ffmpeg()
        except AudioFormatError:
            return source
        source.close()
        return successor

    def _stops_short(self, info: RecordingInfo) -> bool:
        """Whether libsndfile would stop before the sound does."""
        if info.duration_seconds is None:
            return self._container is containers.FLAC  # it ends in an error where no total is given
        # A wav whose writer never came back to fill in its size (0) still has its samples; and
        # for an mp3 without a count of frames the length is guessed from the first one.
        structure = self._part.seconds
        is_guessed = (
            structure is not None and info.duration_seconds < structure - _MP3_FRAME_SECONDS
        )
        return info.duration_seconds == 0 or is_guessed

    def _open_ffmpeg(self) -> Source:
        # Here and not at the top: it takes 0.1 s, which most recordings need not spend.
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


def _with_duration(info: RecordingInfo, seconds: float) -> RecordingInfo:
    return dataclasses.replace(info, duration_seconds=seconds)
