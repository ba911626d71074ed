"""Read recordings with FFmpeg's libraries: m4a, aac, webm, wma, the sound of films.

FFmpeg is large and opens almost anything, so it is restricted in four ways. It gets an open file
object, never a name; it uses only the demuxer that `containers.py` detected; it cannot open the
further files or addresses that a container names; and it has only decoders for sound, so that
pictures are never decoded.

Samples are counted on the recording's own clock (`ffmpeg_clock.py`): sound that begins two seconds
after the picture gets two seconds of zeros in front, and sound before time 0 is dropped. Where the
timestamps jump, the gap is filled with zeros, so that the notes after it keep their times.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileSlice
from mt3_model.audio.recording import RecordingInfo, refuse_absent_track
from mt3_model.audio.sources.audio_source import DecoderStoppedError, block_samples
from mt3_model.audio.sources.ffmpeg_clock import find_clock, stated_seconds
from mt3_model.audio.sources.ffmpeg_frames import DecodedFrame, StreamDecoder, drop_delay
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.clock_hints import NO_HINTS, ClockHints
from mt3_model.audio.structure.codec_delays import codec_delay
from mt3_model.audio.structure.containers import Container
from mt3_model.errors import AudioFormatError

_DECODERS = frozenset({
    "aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "ape", "dca", "eac3", "flac", "mp1",
    "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "speex", "tta", "vorbis", "wavpack",
    "wmalossless", "wmapro", "wmav1", "wmav2",
})  # fmt: skip
_DECODER_FAMILIES = ("pcm_", "adpcm_")
# The times of live recordings jitter by some milliseconds, so only a larger difference is a gap,
# unless a packet is known to be lost. Above the upper bound the clock was reset: no sound is lost.
_GAP_SECONDS, _GAP_SECONDS_AFTER_LOSS, _MAX_GAP_SECONDS = 0.05, 0.005, 30.0
# The end is missing if the decoded sound is shorter than the header's duration by more than this:
# containers round to their own clocks, and some codecs drop a last packet of up to 0.1 s.
_DURATION_TOLERANCE_SECONDS = 0.25
_OWN_DELAYS = frozenset({containers.AAC.name, containers.MP3.name})
"""Containers without timestamps; `mpeg_parts.py` and `part_source.py` handle their delay."""
_MAX_NAMED_TRACKS, _MAX_NAME = 16, 40
_UNNAMED = frozenset({"", "und"})


class FfmpegSource:
    """One recording, open in FFmpeg's libraries."""

    def __init__(
        self,
        file: FileSlice,
        container: Container,
        hints: ClockHints = NO_HINTS,
        *,
        audio_track: int | None = None,
    ) -> None:
        """Open a recording and decode its first frame.

        Args:
            file: the bytes of the recording.
            container: their detected container.
            hints: facts about the clock from the structure of the file.
            audio_track: the audio track to read, counted from 1; None for the container's default.

        Raises:
            AudioTrackError: there is no such audio track.
            AudioFormatError: FFmpeg cannot read it, or it has no sound.
        """
        self._file = file
        self._container, self._hints = container, hints
        self._input = _open(self._file, container)
        try:
            self._stream = _find_stream(self._input, audio_track)
            self._decoder = StreamDecoder(self._input, self._stream)
            self._decoded = self._decoder.frames()
            first = self._decode_first()
            self.first_frame_samples = len(first.samples)
            frames = self._without_delay(first)
            head = next(frames, None)
            self._frames = iter(()) if head is None else itertools.chain((head,), frames)
            clock = find_clock(self._decoder, head, container, hints)
            self.position = round((clock.sound_start - clock.zero) * first.rate)
            self.info = RecordingInfo(
                sample_rate=first.rate,
                channels=first.samples.shape[1],
                duration_seconds=stated_seconds(self._decoder, clock.zero, container, hints),
                container=container.name,
                codec=self._decoder.codec,
                audio_track=1 + self._input.streams.audio.index(self._stream),
                audio_tracks=len(self._input.streams.audio),
                other_tracks=tuple(self._other_tracks()),
            )
        except BaseException:
            self._input.close()
            raise
        self.is_truncated = False
        self.damaged_places = 0
        self.first_damage: float | None = None

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yield from sample ``first`` on; see `AudioSource`."""
        size = block_samples(self.info)
        held, pending = 0, list[Float32[np.ndarray, "_ C"]]()
        for samples in self._samples():
            if pending and samples.shape[1] != pending[0].shape[1]:
                yield np.concatenate(pending)
                held, pending = 0, []
            kept = samples[max(0, min(len(samples), first - self.position)) :]
            self.position += len(samples)
            held += len(samples)
            pending.append(kept)
            if held >= size:
                yield np.concatenate(pending)
                held, pending = 0, []
        if pending:
            yield np.concatenate(pending)
        self._judge_end()

    def close(self) -> None:
        """Free the state of FFmpeg."""
        self._decoded.close()
        self._input.close()

    def _other_tracks(self) -> Iterator[str]:
        """Yield the number of each other audio track, with its title and language if known."""
        tracks: list[Any] = list(self._input.streams.audio)[:_MAX_NAMED_TRACKS]
        for number, stream in enumerate(tracks, 1):
            names = [str(stream.metadata.get(key, ""))[:_MAX_NAME] for key in ("title", "language")]
            label = ", ".join(name for name in names if name.isprintable() and name not in _UNNAMED)
            if stream is not self._stream:
                yield f"{number} ({label})" if label else str(number)

    def _decode_first(self) -> DecodedFrame:
        frame = next(self._decoded, None)
        if frame is None:
            raise AudioFormatError("none of its sound can be decoded: the data is damaged")
        return frame

    def _without_delay(self, first: DecodedFrame) -> Iterator[DecodedFrame]:
        """Return all frames, without the codec's delay if FFmpeg did not drop it."""
        frames = itertools.chain((first,), self._decoded)
        if self._decoder.is_trimmed or self._container.name in _OWN_DELAYS:
            return frames
        stated = self._hints.delay_samples
        delay = codec_delay(self._decoder.codec, len(first.samples)) if stated is None else stated
        return drop_delay(frames, delay, is_certain=stated is not None)

    def _samples(self) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yield all samples, with zeros for missing ones before or between them."""
        rate, expected = self.info.sample_rate, None
        late = max(0, self.position)
        self.position -= late
        yield from self._zeros(late, self.info.channels)
        for frame in self._frames:
            if frame.rate != rate:
                raise DecoderStoppedError(
                    max(0, self.position),
                    f"the sample rate changes from {rate:,} to {frame.rate:,} Hz",
                )
            yield from self._zeros(self._gap(frame, expected), frame.samples.shape[1])
            yield frame.samples
            # A frame after damage may have no timestamp: then it follows the one before.
            begin = expected if frame.time is None else frame.time
            expected = None if begin is None else begin + len(frame.samples) / rate

    def _zeros(self, count: int, channels: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        size = block_samples(self.info)
        for begin in range(0, count, size):
            yield np.zeros((min(size, count - begin), channels), np.float32)

    def _gap(self, frame: DecodedFrame, expected: float | None) -> int:
        """Return the number of samples missing before ``frame``, and count them as damage."""
        lost, self._decoder.lost = self._decoder.lost, False
        missing = 0.0
        if self._container.states_times and frame.time is not None and expected is not None:
            missing = frame.time - expected
        is_gap = (_GAP_SECONDS_AFTER_LOSS if lost else _GAP_SECONDS) < missing < _MAX_GAP_SECONDS
        if lost or is_gap:
            seconds = max(0, self.position) / self.info.sample_rate
            self.damaged_places += 1
            self.first_damage = seconds if self.first_damage is None else self.first_damage
        return round(missing * self.info.sample_rate) if is_gap else 0

    def _judge_end(self) -> None:
        """Decide after the last frame whether the sound ends too soon."""
        duration = self.info.duration_seconds
        seconds = max(0, self.position) / self.info.sample_rate
        is_short = duration is not None and seconds < duration - _DURATION_TOLERANCE_SECONDS
        self.is_truncated |= self._decoder.is_broken or self._decoder.lost or is_short


def _open(file: FileSlice, container: Container) -> InputContainer:
    codecs = sorted(
        name
        for name in av.codecs_available
        if name in _DECODERS or name.startswith(_DECODER_FAMILIES)
    )
    try:
        return av.open(
            file,
            mode="r",
            format=container.ffmpeg_format,
            # Only the file object: no protocol, no second demuxer, no decoder for pictures.
            container_options={
                "protocol_whitelist": "none",
                "format_whitelist": container.ffmpeg_format,
                "codec_whitelist": ",".join(codecs),
            },
            metadata_errors="replace",
            io_open=_refuse_to_open,
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise AudioFormatError(
            f"it looks like {container.name}, but cannot be read as such: {_reason(error)}; the "
            "file is damaged or its end is missing"
        ) from error


def _refuse_to_open(*_: Any) -> Any:
    """Refuse to open the further files and addresses that a container names."""
    raise PermissionError("a recording must not refer to other files")


def _find_stream(opened: InputContainer, audio_track: int | None) -> Any:
    streams = opened.streams.audio
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in opened.streams})) or "nothing"
        raise AudioFormatError(f"there is no sound in it (found {kinds}); send a recording")
    refuse_absent_track(audio_track, len(streams))
    stream = opened.streams.best("audio") or streams[0]
    if audio_track is not None:
        stream = streams[audio_track - 1]
    if getattr(stream, "codec_context", None) is None:  # no decoder; missing in PyAV's stubs
        raise AudioFormatError("its sound is in a codec that cannot be decoded; send wav or flac")
    name = str(stream.codec_context.name)
    if name not in _DECODERS and not name.startswith(_DECODER_FAMILIES):
        raise AudioFormatError(f"its sound is in the unsupported codec {name}; send wav or flac")
    # One thread: each further one needs address space, and sound decodes fast enough.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
