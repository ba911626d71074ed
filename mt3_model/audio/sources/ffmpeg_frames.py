"""Packets of one stream in FFmpeg -> pieces of samples with their times, without the delay.

Packets that cannot be decoded are counted and passed over. What a decoder gives before the first
recorded sample is dropped here: FFmpeg does so itself where the container says how much it is,
and `codec_delays.py` knows the rest.
"""

import dataclasses
import itertools
from collections.abc import Generator, Iterator
from typing import Any

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from mt3_model.audio.array_types import Float32

_SKIP_SAMPLES = "skip_samples"
"""FFmpeg's note on a packet: samples to drop at its start and end, 32 bits each."""
_QUIET = 0.35
"""Part of the following sound's level under which a first frame is an encoder's silence. Where a
stream was cut in its middle the first frame has 0.7 of it, half of its overlap being missing; in
a whole stream it has the encoder's noise alone."""
_SILENT = 1e-3
"""Level, of full scale, under which there is nothing to compare."""
_SURE_PLANES = 8
"""Channels up to which PyAV counts the planes rightly: FFmpeg's AV_NUM_DATA_POINTERS."""
_PLANAR_TYPES = {
    "u8p": np.uint8, "s16p": np.int16, "s32p": np.int32, "s64p": np.int64, "fltp": np.float32,
    "dblp": np.float64,
}  # fmt: skip
_LAYER3 = 1
"""The two bits of a frame header that name the layer. Source: ISO/IEC 11172-3, 2.4.2.3."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Decoded samples that follow each other."""

    samples: Float32[np.ndarray, "_ C"]
    rate: int
    """Hz."""
    time: float | None
    """Seconds of the container's clock at the first of them; None where it does not say."""

    def after(self, count: int) -> "Piece":
        """Return what is left without the first ``count`` samples."""
        time = None if self.time is None else self.time + count / self.rate
        return dataclasses.replace(self, samples=self.samples[count:], time=time)


class PieceDecoder:
    """The decoder of one stream."""

    def __init__(self, opened: InputContainer, stream: Any) -> None:
        """Prepare for ``stream`` of an open container."""
        self._input = opened
        self._stream = stream
        self.lost = False
        """A packet since the flag was last cleared could not be decoded, or was cut."""
        self.is_broken = False
        """The container itself broke off."""
        self.is_trimmed = False
        """The container says what to drop in front, and FFmpeg has dropped it."""
        self.first_times: dict[int, float] = {}
        """Seconds of the container's clock at each stream's first packet so far, by its index."""
        self._head = b""

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, without the suffix of a variant."""
        name = str(self._stream.codec_context.name).removesuffix("float")
        is_mpeg = len(self._head) > 1 and self._head[0] == 0xFF  # noqa: PLR2004  # sync
        # A transport stream has one name for all three layers.
        return "mp2" if name == "mp3" and is_mpeg and self._head[1] >> 1 & 3 != _LAYER3 else name

    def pieces(self) -> Generator[Piece]:
        """Yield the stream in order, whatever FFmpeg gives of it."""
        packets = self._input.demux()  # all streams, as FFmpeg reads them anyhow
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, IndexError):
                # The container itself breaks off; or, IndexError, PyAV 18 meets a stream that
                # was not announced at the head.
                self.is_broken = True
                return
            if packet.pts is not None and packet.stream_index not in self.first_times:
                self.first_times[packet.stream_index] = float(packet.pts * packet.time_base)
            if packet.stream_index != self._stream.index:
                continue
            self._head = self._head or bytes(packet)[:2]
            try:
                frame: Any
                for frame in packet.decode():
                    self.is_trimmed |= _is_trimmed(packet, frame)
                    yield Piece(
                        samples=frame_samples(frame), rate=frame.sample_rate, time=frame.time
                    )
            except av.error.FFmpegError:
                self.lost = True
            self.is_trimmed |= _drops_start(packet)
            self.lost |= packet.is_corrupt  # cut short: what follows its frames is missing


def drop_delay(pieces: Iterator[Piece], delay: int, *, is_certain: bool) -> Iterator[Piece]:
    """Drop ``delay`` samples from the front of a stream.

    Args:
        pieces: the stream.
        delay: how many samples its codec puts in front.
        is_certain: whether they are dropped even where they do not sound like an encoder's
            silence, as the first samples of a stream cut in its middle.
    """
    head: list[Piece] = []
    while sum(len(piece.samples) for piece in head) < 2 * delay:
        piece = next(pieces, None)
        if piece is None:
            break
        head.append(piece)
    if is_certain or _begins_quietly(head, delay):
        head = list(_drop(head, delay))
    return itertools.chain(head, pieces)


def frame_samples(frame: AudioFrame) -> Float32[np.ndarray, "_ C"]:
    """Return a frame's samples as float32 in [-1, 1], whatever its sample format."""
    channels = frame.layout.nb_channels
    values = _planes(frame, channels) if channels > _SURE_PLANES else frame.to_ndarray()
    rows = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if np.issubdtype(rows.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):  # damaged doubles; see mixing.py
            return np.ascontiguousarray(rows, np.float32)
    bits = rows.dtype.itemsize * 8
    zero = 1 << bits - 1 if rows.dtype.kind == "u" else 0
    # float64 keeps 32-bit integers exact until the one rounding to float32, as libsndfile does.
    return ((rows.astype(np.float64) - zero) / float(1 << bits - 1)).astype(np.float32)


def _planes(frame: AudioFrame, channels: int) -> np.ndarray:
    """Return a frame's values as `AudioFrame.to_ndarray` does, from its own planes alone.

    PyAV 18 looks for the end of more than eight planes beyond the end of their list, so that
    further ones come out of whatever memory follows.
    """
    if not frame.format.is_planar:
        return frame.to_ndarray()
    kind = _PLANAR_TYPES[frame.format.name]
    planes = itertools.islice(frame.planes, channels)
    return np.stack([np.frombuffer(bytes(plane), kind, frame.samples) for plane in planes])


def _is_trimmed(packet: Any, frame: AudioFrame) -> bool:
    """Whether FFmpeg dropped samples from the front of a packet's frame."""
    return packet.pts is not None and frame.pts is not None and frame.pts > packet.pts


def _drops_start(packet: Any) -> bool:
    if not packet.has_sidedata(_SKIP_SAMPLES):
        return False
    return int.from_bytes(bytes(packet.get_sidedata(_SKIP_SAMPLES))[:4], "little") > 0


def _drop(pieces: list[Piece], count: int) -> Iterator[Piece]:
    for piece in pieces:
        dropped = min(count, len(piece.samples))
        count -= dropped
        if dropped < len(piece.samples):
            yield piece.after(dropped)


def _begins_quietly(pieces: list[Piece], count: int) -> bool:
    """Whether the first ``count`` samples are much quieter than as many after them."""
    if len({piece.samples.shape[1] for piece in pieces}) != 1:
        return True
    samples = np.concatenate([piece.samples for piece in pieces]).astype(np.float64)
    if len(samples) <= count:
        return False  # nothing would be left
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = np.mean(samples[:count] ** 2), np.mean(samples[count : 2 * count] ** 2)
    return not first > max(_QUIET**2 * second, _SILENT**2)
