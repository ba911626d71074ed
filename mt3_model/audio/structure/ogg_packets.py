"""Find the position of the first sample of an Ogg stream from the lengths of its packets.

A page states the position of its last sample (the granule position), not of its first one. A
stream therefore begins at the position of its first page less the samples of the packets on it.
The first bytes of a packet give its length; nothing is decoded. A stream that was cut without
encoding it again begins below 0; a capture of a running stream begins at any position.

Sources: RFC 6716, 3.1 (Opus); Vorbis I specification, 4.2.1, 4.2.4 and 4.3.1; RFC 9639, 9.1.1
(FLAC, in `flac_frames.py`); the Speex manual, table 7.1.
"""

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from mt3_model.audio.structure.flac_frames import frame_samples

_OPUS_RATE = 48_000
"""RFC 7845, 4: positions count samples at 48 kHz, whatever the rate of the input."""
_MAX_OPUS_FRAMES = 48
"""RFC 6716, 3.2.5: 120 ms of frames of 2.5 ms."""
_NO_POSITION = -1
"""RFC 3533, 6: no packet ends on the page."""
_FULL_SEGMENT = 255
"""RFC 3533, 5: the packet continues in the next segment."""
_HEAD_BYTES, _TAIL_BYTES = 128, 512
"""Bytes kept of a packet: the first ones, and the last ones for the Vorbis setup header."""
_MAX_PACKETS = 100_000
"""Limit of packets on pages that state no position; far more than any stream has."""
_MODE_BITS = 41
"""Bits of one Vorbis mode: block flag, window type (16), transform type (16), mapping (8)."""
_MAX_MODES = 64


class StreamStart:
    """Finds the position of a stream's first sample, page by page."""

    def __init__(self, first_packet: bytes) -> None:
        """Start with the packet on the first page of the stream."""
        self.codec = find_codec(first_packet)
        self.position: int | None = None
        """Position of the first sample; negative where the stream was cut. None while unknown."""
        self.is_done = self.codec is None
        """Whether further pages add nothing."""
        self._headers = 1
        self._packets: list[bytes] = []
        self._splitter = PacketSplitter()

    @property
    def has_sound(self) -> bool:
        """Whether a packet with sound was added."""
        return self.is_done or bool(self._packets)

    def add(
        self, lacing: bytes, body: bytes, *, granule: int, is_continued: bool, is_last: bool
    ) -> None:
        """Add the next page of the stream.

        Args:
            lacing: the segment table of the page.
            body: the bytes of the page after the segment table.
            granule: the position that the page states.
            is_continued: whether the page begins inside a packet.
            is_last: whether the page is marked as the last of the stream.
        """
        if self.is_done or self.codec is None:
            return
        try:
            for packet in self._splitter.split(lacing, body, is_continued=is_continued):
                if self._headers < self.codec.header_packets:
                    self._headers += 1
                    self.codec.add_header(packet)
                else:
                    self._packets.append(packet[:_HEAD_BYTES])
            if not self._packets or granule == _NO_POSITION:
                self.is_done = len(self._packets) > _MAX_PACKETS
                return
            position = granule - self.codec.samples(self._packets)
        except (IndexError, ValueError):
            position = None
        self.is_done = True
        self._packets = []
        # A last page with fewer samples than its packets hold is cut at its end, not its start.
        self.position = 0 if position is not None and is_last and position < 0 else position


class PacketSplitter:
    """Splits the pages of a stream into packets."""

    def __init__(self) -> None:
        self._open: bytes | None = None

    def split(self, lacing: bytes, body: bytes, *, is_continued: bool) -> Iterator[bytes]:
        """Yield the packets that end on the next page; of very long ones only both ends are kept.

        Args:
            lacing: the segment table of the page.
            body: the bytes of the page after the segment table.
            is_continued: whether the page begins inside a packet.
        """
        is_rest = is_continued and self._open is None  # of a packet whose beginning is missing
        self._open = self._open if is_continued else None
        at, size = 0, 0
        for index, length in enumerate(lacing):
            size += length
            if length == _FULL_SEGMENT and index < len(lacing) - 1:
                continue
            piece = body[at : at + size]
            at, size = at + size, 0
            packet = piece if self._open is None else _shorten(self._open + piece)
            self._open = packet if length == _FULL_SEGMENT else None
            if self._open is None and not is_rest:
                yield packet
            is_rest = False


@runtime_checkable  # for the test run, which checks arguments against their annotations
class OggCodec(Protocol):
    """The codec of one stream, as far as it determines the lengths of packets."""

    rate: int
    """Positions per second."""
    header_packets: int
    """Number of packets before the first one with sound."""
    pre_skip: int
    """Samples to drop at the beginning; the clock is behind the stated positions by as many."""

    def add_header(self, packet: bytes) -> None:
        """Read a further header packet."""
        ...

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the number of samples that a decoder returns for the first packets."""
        ...


def find_codec(first_packet: bytes) -> OggCodec | None:
    """Return the codec of a stream by its first packet; None for an unknown or damaged one."""
    for mark, codec in _CODECS:
        if first_packet.startswith(mark):
            try:
                found = codec(first_packet)
            except (IndexError, struct.error, ValueError):
                return None
            return found if found.rate > 0 else None
    return None


class _Opus:
    """Opus: the table-of-contents byte states number and length of the frames."""

    rate = _OPUS_RATE
    header_packets = 2

    def __init__(self, packet: bytes) -> None:
        self.pre_skip = int.from_bytes(packet[10:12], "little")

    def add_header(self, packet: bytes) -> None:
        """Ignore the tags."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the sum of the lengths of the packets."""
        return sum(map(self._packet_samples, packets))

    def _packet_samples(self, packet: bytes) -> int:
        if not packet:
            return 0
        config, code = packet[0] >> 3, packet[0] & 3
        if config < 12:  # noqa: PLR2004  # SILK: 10, 20, 40, 60 ms
            frame = (480, 960, 1_920, 2_880)[config & 3]
        elif config < 16:  # noqa: PLR2004  # hybrid: 10, 20 ms
            frame = (480, 960)[config & 1]
        else:  # CELT: 2.5, 5, 10, 20 ms
            frame = 120 << (config & 3)
        if code < 3:  # noqa: PLR2004  # one frame, or two
            return frame * (1 if code == 0 else 2)
        count = packet[1] & 63 if len(packet) > 1 else 0
        return frame * min(count, _MAX_OPUS_FRAMES)


class Vorbis:
    """Vorbis: each packet's mode states its block size a.

    A decoder returns (a + b) / 4 samples for it, where b is the size of the block before.
    """

    header_packets = 3
    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        self.rate = int.from_bytes(packet[12:16], "little")
        self._sizes = (1 << (packet[28] & 15), 1 << (packet[28] >> 4))
        self._flags: tuple[int, ...] = ()

    def add_header(self, packet: bytes) -> None:
        """Read the block flags of the modes from the end of the setup header."""
        if packet.startswith(b"\x05vorbis"):
            self._flags = _mode_flags(packet)

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the sum over all pairs of blocks; the first block alone has no samples."""
        if not self._flags:
            raise ValueError("the modes of this Vorbis stream are not known")
        mode_bits = (len(self._flags) - 1).bit_length()
        sizes: list[int] = []
        for packet in packets:
            if not packet or packet[0] & 1:
                continue
            mode = packet[0] >> 1 & (1 << mode_bits) - 1
            if mode >= len(self._flags):
                raise ValueError("this Vorbis packet has a mode that was not announced")
            sizes.append(self._sizes[self._flags[mode]])
        return sum((a + b) // 4 for a, b in itertools.pairwise(sizes))


class _Flac:
    """FLAC: the header of each frame states its block size."""

    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        # 0x7f FLAC, version, number of header packets (0: unknown), fLaC, STREAMINFO.
        self.header_packets = 1 + int.from_bytes(packet[7:9], "big")
        information = packet[17:]
        self.rate = int.from_bytes(information[10:13], "big") >> 4

    def add_header(self, packet: bytes) -> None:
        """Ignore the other metadata."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the sum of the block sizes."""
        return sum(map(frame_samples, packets))


class _Speex:
    """Speex: all packets have the same number of frames of the same length."""

    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        fields = struct.unpack_from("<13I", packet, 28)
        self.rate = fields[2]
        self._packet_samples = fields[7] * max(1, fields[9])
        self.header_packets = 2 + min(fields[10], 255)

    def add_header(self, packet: bytes) -> None:
        """Ignore the comments."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the number of packets times their length."""
        return self._packet_samples * len(packets)


_CODECS: tuple[tuple[bytes, Callable[[bytes], OggCodec]], ...] = (
    (b"OpusHead", _Opus),
    (b"\x01vorbis", Vorbis),
    (b"\x7fFLAC", _Flac),
    (b"Speex   ", _Speex),
)


def _shorten(packet: bytes) -> bytes:
    if len(packet) <= _HEAD_BYTES + _TAIL_BYTES:
        return packet
    return packet[:_HEAD_BYTES] + packet[-_TAIL_BYTES:]


def _mode_flags(setup: bytes) -> tuple[int, ...]:
    """Return the block flags of the modes, the last field of a setup header.

    Reading it forwards would need a parser of codebooks. Read backwards, each mode has 41 bits of
    which the middle 32 are zero, and the number of modes less one precedes them in 6 bits. FFmpeg
    and Tremor find the modes in the same way.
    """
    bits = int.from_bytes(setup.rstrip(b"\0")[-_TAIL_BYTES:], "little")
    end = bits.bit_length() - 1  # the framing bit is the last one set
    flags: list[int] = []
    found: tuple[int, ...] = ()
    for count in range(1, _MAX_MODES + 1):
        at = end - count * _MODE_BITS
        if at < 6 or (bits >> at + 1) & 0xFFFFFFFF:  # noqa: PLR2004  # bits of the number
            break
        flags.insert(0, bits >> at & 1)
        if (bits >> at - 6 & 63) + 1 == count:
            found = tuple(flags)
    return found
