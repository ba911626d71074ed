"""Decode one stream with FFmpeg into frames with their times, and drop the codec's delay.

Packets that cannot be decoded are counted and skipped. Samples before the first recorded one are
dropped: by FFmpeg itself where the container states their number, else here, with the numbers of
`codec_delays.py`.
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
"""FFmpeg's side data of a packet: samples to drop at its start and end, 32 bits each."""
_QUIET = 0.35
"""A first frame below this share of the level of the following sound is an encoder's silence. In a
stream that was cut in its middle, the first frame has 0.7 of it, because half of its overlap is
missing; in a whole stream it has only the encoder's noise."""
_SILENT = 1e-3
"""Share of full scale below which levels are not compared."""
_SURE_PLANES = 8
"""Channels up to which PyAV counts the planes correctly: FFmpeg's AV_NUM_DATA_POINTERS."""
_PLANAR_TYPES = {
    "u8p": np.uint8, "s16p": np.int16, "s32p": np.int32, "s64p": np.int64, "fltp": np.float32,
    "dblp": np.float64,
}  # fmt: skip
_LAYER3 = 1
"""The two bits of a frame header that name the layer. Source: ISO/IEC 11172-3, 2.4.2.3."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrame:
    """The samples of one frame."""

    samples: Float32[np.ndarray, "_ C"]
    rate: int
    """Hz."""
    time: float | None
    """Seconds of the container's clock at the first sample; None without a timestamp."""

    def without_first(self, count: int) -> "DecodedFrame":
        """Return the frame without its first ``count`` samples."""
        time = None if self.time is None else self.time + count / self.rate
        return dataclasses.replace(self, samples=self.samples[count:], time=time)


class StreamDecoder:
    """Decodes one stream of a container."""

    def __init__(self, opened: InputContainer, stream: Any) -> None:
        """Prepare for decoding.

        Args:
            opened: the container.
            stream: the audio stream of it to decode.
        """
        self.input = opened
        self.stream = stream
        self.lost = False
        """Whether a packet could not be decoded or was cut since the caller last cleared this."""
        self.is_broken = False
        """Whether the container itself ended in an error."""
        self.is_trimmed = False
        """Whether the container states the delay, so that FFmpeg dropped it."""
        self.first_times: dict[int, float] = {}
        """Seconds of the container's clock at the first packet of each stream, by stream index."""
        self._head = b""

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, without the suffix of a variant."""
        name = str(self.stream.codec_context.name).removesuffix("float")
        is_mpeg = len(self._head) > 1 and self._head[0] == 0xFF  # noqa: PLR2004  # sync
        # An MPEG transport stream names all three layers mp3.
        return "mp2" if name == "mp3" and is_mpeg and self._head[1] >> 1 & 3 != _LAYER3 else name

    def frames(self) -> Generator[DecodedFrame]:
        """Yield all frames that FFmpeg can decode, in order."""
        packets = self.input.demux()  # all streams, for `first_times`
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, IndexError):
                # The container ends in an error; IndexError: PyAV 18 finds a stream that the header
                # of the container does not list.
                self.is_broken = True
                return
            if packet.pts is not None and packet.stream_index not in self.first_times:
                self.first_times[packet.stream_index] = float(packet.pts * packet.time_base)
            if packet.stream_index != self.stream.index:
                continue
            self._head = self._head or bytes(packet)[:2]
            try:
                frame: Any
                for frame in packet.decode():
                    self.is_trimmed |= _is_trimmed(packet, frame)
                    yield DecodedFrame(
                        samples=frame_samples(frame), rate=frame.sample_rate, time=frame.time
                    )
            except av.error.FFmpegError:
                self.lost = True
            self.is_trimmed |= _drops_start(packet)
            self.lost |= packet.is_corrupt  # cut: samples after its frames are missing


def drop_delay(
    frames: Iterator[DecodedFrame], delay: int, *, is_certain: bool
) -> Iterator[DecodedFrame]:
    """Drop ``delay`` samples from the beginning of a stream.

    Args:
        frames: the stream.
        delay: the codec's delay in samples.
        is_certain: whether to drop them even if they do not sound like an encoder's silence, as in
            a stream that was cut in its middle.
    """
    head: list[DecodedFrame] = []
    while sum(len(frame.samples) for frame in head) < 2 * delay:
        frame = next(frames, None)
        if frame is None:
            break
        head.append(frame)
    if is_certain or _begins_quietly(head, delay):
        head = list(_drop(head, delay))
    return itertools.chain(head, frames)


def frame_samples(frame: AudioFrame) -> Float32[np.ndarray, "_ C"]:
    """Return the samples of a frame of any sample format as float32 in [-1, 1]."""
    channels = frame.layout.nb_channels
    values = _planes(frame, channels) if channels > _SURE_PLANES else frame.to_ndarray()
    rows = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if np.issubdtype(rows.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):  # damaged doubles; see mixing.py
            return np.ascontiguousarray(rows, np.float32)
    bits = rows.dtype.itemsize * 8
    zero = 1 << bits - 1 if rows.dtype.kind == "u" else 0
    # float64 keeps 32-bit integers exact, so only float32 rounds, as in libsndfile.
    return ((rows.astype(np.float64) - zero) / float(1 << bits - 1)).astype(np.float32)


def _planes(frame: AudioFrame, channels: int) -> np.ndarray:
    """Return the values of a frame as `AudioFrame.to_ndarray` does, but only its own planes.

    With more than eight planes, PyAV 18 searches for the end of their list beyond it, and returns
    planes from unrelated memory.
    """
    if not frame.format.is_planar:
        return frame.to_ndarray()
    kind = _PLANAR_TYPES[frame.format.name]
    planes = itertools.islice(frame.planes, channels)
    return np.stack([np.frombuffer(bytes(plane), kind, frame.samples) for plane in planes])


def _is_trimmed(packet: Any, frame: AudioFrame) -> bool:
    """Whether FFmpeg dropped samples from the beginning of a packet's frame."""
    return packet.pts is not None and frame.pts is not None and frame.pts > packet.pts


def _drops_start(packet: Any) -> bool:
    if not packet.has_sidedata(_SKIP_SAMPLES):
        return False
    return int.from_bytes(bytes(packet.get_sidedata(_SKIP_SAMPLES))[:4], "little") > 0


def _drop(frames: list[DecodedFrame], count: int) -> Iterator[DecodedFrame]:
    for frame in frames:
        dropped = min(count, len(frame.samples))
        count -= dropped
        if dropped < len(frame.samples):
            yield frame.without_first(dropped)


def _begins_quietly(frames: list[DecodedFrame], count: int) -> bool:
    """Whether the first ``count`` samples are much quieter than the next ``count``."""
    if len({frame.samples.shape[1] for frame in frames}) != 1:
        return True
    samples = np.concatenate([frame.samples for frame in frames]).astype(np.float64)
    if len(samples) <= count:
        return False  # no sample would remain
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = np.mean(samples[:count] ** 2), np.mean(samples[count : 2 * count] ** 2)
    return not first > max(_QUIET**2 * second, _SILENT**2)
