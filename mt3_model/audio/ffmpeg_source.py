"""Recordings that only FFmpeg's libraries read: m4a, aac, webm, wma, the sound of films.

FFmpeg is large and was written to open anything, so it is held on four short leads. It gets an
open file object and never a name; the demuxer that `containers.py` found and no other; a refusal
for each further file or address that a container points to; and a list of decoders for sound, so
that no picture is ever decoded.

Packets that cannot be decoded are counted and passed over. Where the timestamps then jump, the
gap is filled with zeros, so that the notes after it keep their times.
"""

import io
from collections.abc import Generator, Iterator
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from mt3_model.audio.array_types import Float32
from mt3_model.audio.containers import Container
from mt3_model.audio.recording import RecordingInfo
from mt3_model.audio.source import DecoderStoppedError, block_samples
from mt3_model.errors import AudioFormatError

_DECODERS = frozenset({
    "aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "ape", "dca", "eac3", "flac", "mp1",
    "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "tta", "vorbis", "wavpack",
    "wmalossless", "wmapro", "wmav1", "wmav2",
})  # fmt: skip
_DECODER_FAMILIES = ("pcm_", "adpcm_")
# Live recordings jitter by some milliseconds: a gap is more than that, unless a packet is known
# to be lost. More than the upper bound is a clock set anew, not lost sound.
_GAP_SECONDS, _GAP_SECONDS_AFTER_LOSS, _MAX_GAP_SECONDS = 0.05, 0.005, 30.0
# How much less than the header's duration may be decoded before the end is called missing:
# containers round to their own clocks and some codecs drop a last packet of up to 0.1 s.
_DURATION_TOLERANCE_SECONDS = 0.25


class _OpenFile(io.FileIO):
    """The file as FFmpeg sees it.

    Damaged headers send it to places before the file's beginning. An exception there would be
    kept by PyAV and surface at some later call; FFmpeg's own sign for it is a negative position.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves to ``offset``; -1 where there is no such place."""
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -1


class FfmpegSource:
    """One recording, open in FFmpeg's libraries."""

    def __init__(self, descriptor: int, container: Container) -> None:
        """Opens the file behind ``descriptor``, which stays the caller's, and its first frame.

        Raises:
            AudioFormatError: FFmpeg cannot read it, or it has no sound.
        """
        self._file = _OpenFile(descriptor, closefd=False)
        self._file.seek(0)
        self._input = _open(self._file, container)
        try:
            self._stream = _find_stream(self._input)
            self.position = 0
            self.is_truncated = False
            self.damaged_places = 0
            self.first_damage: float | None = None
            self._lost = False
            self._frames = self._decode()
            self._first_frame = self._decode_first()
            self.info = self._describe(self._first_frame, container)
        except BaseException:
            self._input.close()
            raise

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yields from sample ``first`` on; see `Source`."""
        size = block_samples(self.info)
        held, pending = 0, list[Float32[np.ndarray, "_ C"]]()
        for piece in self._pieces():
            if pending and piece.shape[1] != pending[0].shape[1]:
                yield np.concatenate(pending)
                held, pending = 0, []
            kept = piece[max(0, min(len(piece), first - self.position)) :]
            self.position += len(piece)
            held += len(piece)
            pending.append(kept)
            if held >= size:
                yield np.concatenate(pending)
                held, pending = 0, []
        if pending:
            yield np.concatenate(pending)
        self._judge_end()

    def close(self) -> None:
        """Frees FFmpeg's state."""
        self._frames.close()
        self._input.close()

    def _decode_first(self) -> AudioFrame:
        frame = next(self._frames, None)
        if frame is None:
            raise AudioFormatError("none of its sound can be decoded: the data is damaged")
        return frame

    def _decode(self) -> Generator[AudioFrame]:
        """Yields frames in order, passing over packets that cannot be decoded."""
        packets = self._input.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, IndexError):
                # The container itself breaks off; or, IndexError, PyAV 18 meets a stream that
                # was not announced at the head.
                self.is_truncated = True
                return
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self._lost = True
            self._lost |= packet.is_corrupt  # cut short: what follows its frames is missing

    def _pieces(self) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yields the samples of each frame, and zeros for what is missing between two."""
        frame = self._first_frame
        rate = self.info.sample_rate
        position, expected = 0, frame.time
        while True:
            if frame.sample_rate != rate:
                raise DecoderStoppedError(
                    position,
                    f"the sample rate changes from {rate:,} to {frame.sample_rate:,} Hz",
                )
            samples = _samples(frame)
            gap = self._gap(frame, expected, position / rate)
            for _ in range(0, gap, rate):
                yield np.zeros((min(gap, rate), samples.shape[1]), np.float32)
                position += min(gap, rate)
                gap -= rate
            yield samples
            position += len(samples)
            # A frame after damage may come without a time: then it follows the one before.
            begin = expected if frame.time is None else frame.time
            expected = None if begin is None else begin + len(samples) / rate
            following = next(self._frames, None)
            if following is None:
                return
            frame = following

    def _gap(self, frame: AudioFrame, expected: float | None, seconds: float) -> int:
        """Samples missing before ``frame``, counted as damage; 0 where none are."""
        lost, self._lost = self._lost, False
        missing = 0.0
        if frame.time is not None and expected is not None:
            missing = frame.time - expected
        is_gap = (_GAP_SECONDS_AFTER_LOSS if lost else _GAP_SECONDS) < missing < _MAX_GAP_SECONDS
        if lost or is_gap:
            self.damaged_places += 1
            self.first_damage = seconds if self.first_damage is None else self.first_damage
        return round(missing * self.info.sample_rate) if is_gap else 0

    def _judge_end(self) -> None:
        """Decides at the last frame whether the sound ends too soon."""
        duration = self.info.duration_seconds
        seconds = self.position / self.info.sample_rate
        is_short = duration is not None and seconds < duration - _DURATION_TOLERANCE_SECONDS
        self.is_truncated |= self._lost or is_short

    def _describe(self, frame: AudioFrame, container: Container) -> RecordingInfo:
        duration = _duration(self._input, self._stream) if container.knows_duration else None
        return RecordingInfo(
            sample_rate=frame.sample_rate,
            channels=frame.layout.nb_channels,
            duration_seconds=duration,
            container=container.name,
            codec=str(self._stream.codec_context.name).removesuffix("float"),
        )


def _open(file: io.FileIO, container: Container) -> InputContainer:
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
            # Nothing but the file object: no protocol, no second demuxer, no picture decoder.
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
    """FFmpeg's way to open whatever else a container names: shut."""
    raise PermissionError("a recording may not name other files")


def _find_stream(opened: InputContainer) -> Any:
    streams = opened.streams.audio
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in opened.streams})) or "nothing"
        raise AudioFormatError(f"there is no sound in it (found {kinds}); send a recording")
    stream = opened.streams.best("audio") or streams[0]
    if getattr(stream, "codec_context", None) is None:  # no decoder; PyAV's stubs deny it
        raise AudioFormatError("its sound is in a codec that cannot be decoded; send wav or flac")
    name = str(stream.codec_context.name)
    if name not in _DECODERS and not name.startswith(_DECODER_FAMILIES):
        raise AudioFormatError(f"its sound is in the codec {name}, not read here; send wav or flac")
    # One thread: each further one costs address space, and sound decodes fast enough.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _duration(opened: InputContainer, stream: Any) -> float | None:
    """Seconds of the sound by the header, where the header says it."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if opened.duration is not None and len(opened.streams) == 1:
        return opened.duration / av.time_base
    return None


def _samples(frame: AudioFrame) -> Float32[np.ndarray, "_ C"]:
    """A frame's samples as float32 in [-1, 1], whatever its sample format."""
    values = frame.to_ndarray()
    channels = frame.layout.nb_channels
    rows = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if np.issubdtype(rows.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):  # damaged doubles; see mixing.py
            return np.ascontiguousarray(rows, np.float32)
    bits = rows.dtype.itemsize * 8
    zero = 1 << bits - 1 if rows.dtype.kind == "u" else 0
    # float64 keeps 32-bit integers exact until the one rounding to float32, as libsndfile does.
    return ((rows.astype(np.float64) - zero) / float(1 << bits - 1)).astype(np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
