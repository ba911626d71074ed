"""The nouns of reading: what a recording is, how much of it may be read, what was wrong with it.

They are plain data, shared by the decoding process and the one that asked for it, and so import
nothing that decodes.
"""

import dataclasses
import math

from mt3_model.errors import AudioLimitError, AudioTrackError, OptionError

_ENDED_SLACK_SECONDS = 0.01
"""Between the end asked for and the last sample read: a few samples of any rate."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AudioWarning:
    """Something the caller should know about the recording; it was read all the same."""

    code: str
    """Stable, machine-readable; the list is in this folder's README."""
    message: str
    start: float | None = None
    """Where in the recording it begins: seconds of the recording's own clock, so that the start
    of the range asked for is already in it. Absent where it concerns the whole."""
    end: float | None = None
    """Where it ends, on the same clock."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordingInfo:
    """What the recording says of itself."""

    sample_rate: int
    """Hz, of the recording, before resampling."""
    channels: int
    duration_seconds: float | None
    """Length of the whole recording by its header; absent where no header says it."""
    container: str
    """For example ``wav``, ``flac``, ``ogg``, ``mp3``, ``mp4``."""
    codec: str
    """For example ``pcm_16``, ``vorbis``, ``aac``."""
    audio_track: int = 1
    """The audio track that is read, counted from 1."""
    audio_tracks: int = 1
    """How many audio tracks there are."""
    other_tracks: tuple[str, ...] = ()
    """The first of those that are not read, for people: numbers, with titles and languages."""


def refuse_absent_track(audio_track: int | None, audio_tracks: int) -> None:
    """Refuse a track that a recording does not have.

    Args:
        audio_track: the track asked for, counted from 1; None for the container's default.
        audio_tracks: how many there are.

    Raises:
        AudioTrackError: naming how many there are.
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
    """How much a stranger's recording may cost. The deployment sets these."""

    max_seconds: float = 7_200.0
    """Most seconds of sound in the range asked for."""
    max_channels: int = 64
    """Third-order ambisonics has 16, the largest consoles' stems 64."""
    min_sample_rate: int = 1_000
    max_sample_rate: int = 768_000
    """Hz; 768 kHz is the highest rate that converters are sold with."""
    decode_timeout_seconds: float = 60.0
    """Longest wait for the decoder's next block; time spent by the reader does not count."""
    max_memory_bytes: int = 2 << 30
    """Address space of the decoding process: libraries (0.3 GiB) and all it allocates."""

    def check_shape(self, *, sample_rate: int, channels: int) -> None:
        """Refuses rates and channel counts outside the limits.

        Raises:
            AudioLimitError: naming the limit.
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
        """Refuses a range of more than ``max_seconds``.

        Raises:
            AudioLimitError: naming the limit.
        """
        if seconds > self.max_seconds:
            raise AudioLimitError(
                f"more than {math.floor(seconds * 10) / 10:g} s of sound asked for; the limit is "
                f"{self.max_seconds:g} s; ask for a shorter range with start and end"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeRange:
    """The part of a recording that is asked for, in seconds of its own clock."""

    start: float = 0.0
    end: float | None = None
    """Absent: to the recording's end."""

    def __post_init__(self) -> None:
        """Refuses what is no range.

        Raises:
            OptionError: naming ``start`` or ``end``.
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
        """Index of the first sample inside, at ``sample_rate`` Hz."""
        return round(self.start * sample_rate)

    def past_sample(self, sample_rate: int) -> int | None:
        """Index of the first sample after the range; None for an open end."""
        return None if self.end is None else round(self.end * sample_rate)

    def recording_seconds(self, *, read: float, declared: float | None) -> float | None:
        """Gives the length of the whole recording, once the range has been read.

        Args:
            read: Seconds of sound that the range had.
            declared: The recording's length by its own account, which may be wrong.

        Returns:
            Seconds, or None where the range ends before the recording and nothing reliable says
            when that does.
        """
        ended = self.start + read
        if self.end is None or ended < self.end - _ENDED_SLACK_SECONDS:
            return ended  # the recording ended, and not the range
        return None if declared is None or declared < ended else declared

    def seconds_of(self, duration: float) -> float:
        """Seconds of a recording ``duration`` seconds long that lie inside; 0 or more."""
        end = duration if self.end is None else min(self.end, duration)
        return max(0.0, end - self.start)
