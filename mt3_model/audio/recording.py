"""The data classes of reading: description, limits, range and warnings of a recording.

The decoding process and its parent share them, so this module imports no decoder.
"""

import dataclasses
import math

from mt3_model.errors import AudioLimitError, AudioTrackError, OptionError

_ENDED_SLACK_SECONDS = 0.01
"""Tolerance between the requested end and the last sample read: a few samples at any sample
rate."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AudioWarning:
    """A problem of a recording that could still be read."""

    code: str
    """Stable and machine-readable; this folder's README has the list."""
    message: str
    start: float | None = None
    """Start of the problem, in seconds of the recording's own clock (not of the requested
    range). None where it concerns the whole recording."""
    end: float | None = None
    """End of the problem, on the same clock."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordingInfo:
    """The description of a recording, as its file states it."""

    sample_rate: int
    """Hz, before resampling."""
    channels: int
    duration_seconds: float | None
    """Length of the whole recording by its header; None where no header states it."""
    container: str
    """For example ``wav``, ``flac``, ``ogg``, ``mp3``, ``mp4``."""
    codec: str
    """For example ``pcm_16``, ``vorbis``, ``aac``."""
    audio_track: int = 1
    """The audio track that is read, counted from 1."""
    audio_tracks: int = 1
    """The number of audio tracks."""
    other_tracks: tuple[str, ...] = ()
    """Labels of the first tracks that are not read: number, with title and language."""


def refuse_absent_track(audio_track: int | None, audio_tracks: int) -> None:
    """Check that a recording has the requested audio track.

    Args:
        audio_track: the requested track, counted from 1; None for the container's default.
        audio_tracks: the number of tracks.

    Raises:
        AudioTrackError: it has not; the message states the number of tracks.
    """
    if audio_track is None or 1 <= audio_track <= audio_tracks:
        return
    tracks = "one audio track" if audio_tracks == 1 else f"{audio_tracks} audio tracks"
    expected = "1" if audio_tracks == 1 else f"1 to {audio_tracks}"
    raise AudioTrackError(
        f"audio_track is {audio_track}, but the recording has {tracks}; expected {expected}"
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadingLimits:
    """Limits of an untrusted recording, set by the deployment."""

    max_seconds: float = 7_200.0
    """Seconds of sound in the requested range."""
    max_channels: int = 64
    """Third-order ambisonics has 16, the largest consoles' stems 64."""
    min_sample_rate: int = 1_000
    max_sample_rate: int = 768_000
    """Hz; 768 kHz is the highest rate of converters on the market."""
    decode_timeout_seconds: float = 60.0
    """Longest wait for the next block of the decoder; the caller's own time does not count."""
    max_memory_bytes: int = 2 << 30
    """Address space of the decoding process: the libraries (0.3 GiB) and all allocations."""

    def check_shape(self, *, sample_rate: int, channels: int) -> None:
        """Check the sample rate and the number of channels.

        Raises:
            AudioLimitError: one is outside the limits; the message names the limit.
        """
        if not self.min_sample_rate <= sample_rate <= self.max_sample_rate:
            raise AudioLimitError(
                f"sample rate is {sample_rate:,} Hz; expected {self.min_sample_rate:,} to "
                f"{self.max_sample_rate:,}; convert the recording first"
            )
        if not 1 <= channels <= self.max_channels:
            raise AudioLimitError(
                f"the recording has {channels:,} channels; expected 1 to {self.max_channels}; "
                "mix it down first"
            )

    def check_seconds(self, seconds: float) -> None:
        """Check the length of a range.

        Raises:
            AudioLimitError: it is more than ``max_seconds``.
        """
        if seconds > self.max_seconds:
            raise AudioLimitError(
                f"more than {math.floor(seconds * 10) / 10:g} s of sound requested; the limit is "
                f"{self.max_seconds:g} s; choose a shorter range with start and end"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeRange:
    """The requested part of a recording, in seconds of its own clock."""

    start: float = 0.0
    end: float | None = None
    """None for the end of the recording."""

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            OptionError: ``start`` or ``end`` is out of range.
        """
        if not (math.isfinite(self.start) and self.start >= 0):
            raise OptionError(
                "start", f"start is {self.start} s; expected a number of seconds, 0 or more"
            )
        if self.end is not None and not (math.isfinite(self.end) and self.end > self.start):
            raise OptionError(
                "end",
                f"end is {self.end} s; expected a number of seconds above start ({self.start:g} s)",
            )

    def first_sample(self, sample_rate: int) -> int:
        """Return the index of the first sample in the range, at ``sample_rate`` Hz."""
        return round(self.start * sample_rate)

    def past_sample(self, sample_rate: int) -> int | None:
        """Return the index of the first sample after the range; None for an open end."""
        return None if self.end is None else round(self.end * sample_rate)

    def recording_seconds(self, *, read: float, declared: float | None) -> float | None:
        """Return the length of the whole recording, once the range has been read.

        Args:
            read: seconds of sound read in the range.
            declared: length of the recording by its header, which may be wrong.

        Returns:
            Seconds; None where the range ends before the recording and its end is unknown.
        """
        ended = self.start + read
        if self.end is None or ended < self.end - _ENDED_SLACK_SECONDS:
            return ended  # the recording ended before the range
        return None if declared is None or declared < ended else declared

    def seconds_of(self, duration: float) -> float:
        """Return how many seconds of a recording of ``duration`` seconds are in the range."""
        end = duration if self.end is None else min(self.end, duration)
        return max(0.0, end - self.start)
