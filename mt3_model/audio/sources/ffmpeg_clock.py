"""Find time 0 of a recording, and its stated length, from the times of FFmpeg's streams.

Time 0 is where the first of the streams begins, as in players. Sound that begins two seconds after
the picture begins at 2 s; sound before time 0 has negative times and is not played.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import av
from av.stream import Disposition

from mt3_model.audio.sources.ffmpeg_frames import DecodedFrame, StreamDecoder
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.clock_hints import ClockHints
from mt3_model.audio.structure.codec_delays import codec_delay
from mt3_model.audio.structure.containers import Container

_MAX_DELAY_SECONDS = 3_600.0
"""Sound that begins later than this after the picture does not share the picture's clock."""
_AAC_FRAME_SAMPLES = 1_024
"""Assumed frame length of a stream of which nothing is decoded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordingClock:
    """Two times on the container's clock, in seconds."""

    zero: float
    """Time 0 of the recording."""
    sound_start: float
    """The first sample of the sound."""


def find_clock(
    decoder: StreamDecoder, first: DecodedFrame | None, container: Container, hints: ClockHints
) -> RecordingClock:
    """Find where the recording and its sound begin.

    Args:
        decoder: the decoder of the sound, which has decoded at least one packet.
        first: the first frame without the codec's delay; None if there is none.
        container: the detected container.
        hints: facts about the clock from the structure of the file.
    """
    if hints.start is not None:
        return RecordingClock(zero=max(0.0, hints.start), sound_start=hints.start)
    if first is None or first.time is None:
        return RecordingClock(zero=0.0, sound_start=0.0)
    # Without timestamps, the first frame plays at once, with its encoder's delay.
    packet_time = decoder.first_times.get(decoder.stream.index, 0.0)
    start = first.time if container.states_times else packet_time
    others = list(_other_starts(decoder, container))
    zero = min(start, *others) if others else start
    is_plain_mp4 = container is containers.MP4 and not hints.is_fragmented
    if is_plain_mp4 and not others and packet_time > 0:
        zero = 0.0  # such an mp4 begins at time 0: an edit list delays the sound
    if not container.clock_wraps:
        zero = max(0.0, zero)
    is_shared = start - zero <= _MAX_DELAY_SECONDS
    return RecordingClock(zero=zero if is_shared else start, sound_start=start)


def stated_seconds(
    decoder: StreamDecoder, zero: float, container: Container, hints: ClockHints
) -> float | None:
    """Return the seconds from time ``zero`` to the end of the sound; None if no header states it.

    Args:
        decoder: the decoder of the sound.
        zero: time 0 of the recording on the container's clock.
        container: the detected container.
        hints: facts about the clock from the structure of the file.
    """
    if hints.start is not None:
        return hints.seconds
    stream, opened = decoder.stream, decoder.input
    if not container.knows_duration:
        return None
    if stream.duration is not None:
        duration = float(stream.duration * stream.time_base)
        if not hints.is_fragmented:
            start = float((stream.start_time or 0) * stream.time_base)
            return max(0.0, start + duration - zero)
    elif opened.duration is not None and len(opened.streams) == 1:
        duration = opened.duration / av.time_base
    else:
        return None
    # Matroska and fragments state either the end or the length: the smaller value is safe.
    return duration - zero if duration > zero else duration


def _other_starts(decoder: StreamDecoder, container: Container) -> Iterator[float]:
    """Yield the time at which each other video or audio stream begins."""
    stream: Any
    for stream in decoder.input.streams:
        is_cover = bool(stream.disposition & Disposition.attached_pic)
        if stream is decoder.stream or stream.type not in {"audio", "video"} or is_cover:
            continue
        starts: list[float] = []
        if stream.start_time is not None:
            starts.append(float(stream.start_time * stream.time_base))
        # For a stream without a decoder, FFmpeg states the start of another stream.
        if stream.index in decoder.first_times:
            starts.append(decoder.first_times[stream.index])
        if not starts:
            continue
        start = min(starts)
        codec: Any = getattr(stream, "codec_context", None)
        rate = getattr(codec, "sample_rate", None)
        if stream.type == "audio" and container.states_times and rate:
            # This sound begins with its codec's delay too.
            name = codec.name.removesuffix("float")
            start += codec_delay(name, _AAC_FRAME_SAMPLES) / rate
        yield start
