"""The packets of an Ogg stream -> how many samples each of them holds.

A page of Ogg says where its last sample stands, not where its first one does. Where a stream
begins is therefore the position of its first page less the samples of the packets on it. The
length of a packet is found in its first bytes; nothing is decoded. A stream that was cut without
encoding it again begins below 0; one that was recorded while it ran begins at any time.

Sources: RFC 6716, 3.1 (Opus); Vorbis I specification, 4.2.1, 4.2.4 and 4.3.1; RFC 9639, 9.1.1
(FLAC); the Speex manual, table 7.1.
"""

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

_OPUS_RATE = 48_000
"""RFC 7845, 4: positions count samples at 48 kHz, whatever the rate of the input."""
_MAX_OPUS_FRAMES = 48
"""RFC 6716, 3.2.5: 120 ms of frames of 2.5 ms."""
_NO_POSITION = -1
"""RFC 3533, 6: no packet ends on the page."""
_FULL_SEGMENT = 255
"""RFC 3533, 5: the packet goes on in the next segment."""
_HEAD_BYTES, _TAIL_BYTES = 128, 512
"""What is looked at of a packet: its first bytes, and of the Vorbis setup header its last."""
_MAX_PACKETS = 100_000
"""Packets on pages that state no position; far more than any stream has."""
_MODE_BITS = 41
"""Bits of one Vorbis mode: block flag, window type (16), transform type (16), mapping (8)."""
_MAX_MODES = 64


class StreamStart:
    """The position of one stream's first sample, found page by page."""

    def __init__(self, first_packet: bytes) -> None:
        """Start with the packet on the stream's first page."""
        self.timer = _packet_timer(first_packet)
        self.position: int | None = None
        """Position of the first sample; negative where the stream was cut. None while unknown."""
        self.is_done = self.timer is None
        """Whether further pages would tell nothing more."""
        self._headers = 1
        self._packets: list[bytes] = []
        self._open: bytes | None = None

    @property
    def in_sound(self) -> bool:
        """Whether a packet with sound was seen."""
        return self.is_done or bool(self._packets)

    def add(
        self, lacing: bytes, body: bytes, *, granule: int, is_continued: bool, is_last: bool
    ) -> None:
        """Add the stream's next page.

        Args:
            lacing: the page's segment table.
            body: the page's bytes after it.
            granule: the position that the page states.
            is_continued: whether the page begins inside a packet.
            is_last: whether the page is marked as the stream's last.
        """
        if self.is_done or self.timer is None:
            return
        try:
            for packet in self._split(lacing, body, is_continued=is_continued):
                if self._headers < self.timer.header_packets:
                    self._headers += 1
                    self.timer.add_header(packet)
                else:
                    self._packets.append(packet[:_HEAD_BYTES])
            if not self._packets or granule == _NO_POSITION:
                self.is_done = len(self._packets) > _MAX_PACKETS
                return
            position = granule - self.timer.samples(self._packets)
        except (IndexError, ValueError):
            position = None
        self.is_done = True
        self._packets = []
        # A last page with fewer samples than its packets hold is cut at its end, not its beginning.
        self.position = 0 if position is not None and is_last and position < 0 else position

    def _split(self, lacing: bytes, body: bytes, *, is_continued: bool) -> Iterator[bytes]:
        """Yield the packets that end on a page; only the ends of very long ones are kept."""
        is_rest = is_continued and self._open is None  # of a packet whose beginning is not here
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
class PacketTimer(Protocol):
    """What is known of one stream's codec."""

    rate: int
    """Positions per second."""
    header_packets: int
    """Packets before the first one with sound."""
    pre_skip: int
    """Positions by which the clock is behind the page's: samples dropped at the beginning."""

    def add_header(self, packet: bytes) -> None:
        """Read a further header packet, whole."""
        ...

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the samples that a decoder gives for these packets when it starts with them."""
        ...


def _packet_timer(first_packet: bytes) -> PacketTimer | None:
    """Return the timer for a stream by its first packet; None for an unknown or damaged one."""
    for mark, timer in _TIMERS:
        if first_packet.startswith(mark):
            try:
                found = timer(first_packet)
            except (IndexError, struct.error, ValueError):
                return None
            return found if found.rate > 0 else None
    return None


class _Opus:
    """Frames counted by the table-of-contents byte."""

    rate = _OPUS_RATE
    header_packets = 2

    def __init__(self, packet: bytes) -> None:
        self.pre_skip = int.from_bytes(packet[10:12], "little")

    def add_header(self, packet: bytes) -> None:
        """Needs nothing of the tags."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the sum of the packets' lengths."""
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


class _Vorbis:
    """Block sizes by each packet's mode; a block gives a quarter of itself and of the last."""

    header_packets = 3
    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        self.rate = int.from_bytes(packet[12:16], "little")
        self._sizes = (1 << (packet[28] & 15), 1 << (packet[28] >> 4))
        self._flags: tuple[int, ...] = ()

    def add_header(self, packet: bytes) -> None:
        """Read the modes' block flags off the end of the setup header."""
        if packet.startswith(b"\x05vorbis"):
            self._flags = _mode_flags(packet)

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return what the blocks give together; the first one alone gives nothing."""
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
    """Block sizes by each frame's header."""

    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        # 0x7f FLAC, version, number of header packets (0: unknown), fLaC, STREAMINFO.
        self.header_packets = 1 + int.from_bytes(packet[7:9], "big")
        information = packet[17:]
        self.rate = int.from_bytes(information[10:13], "big") >> 4

    def add_header(self, packet: bytes) -> None:
        """Needs nothing of the other metadata."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the sum of the frames' block sizes."""
        return sum(map(_flac_samples, packets))


class _Speex:
    """Each packet has the same number of frames of one size."""

    pre_skip = 0

    def __init__(self, packet: bytes) -> None:
        fields = struct.unpack_from("<13I", packet, 28)
        self.rate = fields[2]
        self._packet_samples = fields[7] * max(1, fields[9])
        self.header_packets = 2 + min(fields[10], 255)

    def add_header(self, packet: bytes) -> None:
        """Needs nothing of the comments."""

    def samples(self, packets: Sequence[bytes]) -> int:
        """Return the packets' number times their length."""
        return self._packet_samples * len(packets)


_TIMERS: tuple[tuple[bytes, Callable[[bytes], PacketTimer]], ...] = (
    (b"OpusHead", _Opus),
    (b"\x01vorbis", _Vorbis),
    (b"\x7fFLAC", _Flac),
    (b"Speex   ", _Speex),
)


def _shorten(packet: bytes) -> bytes:
    if len(packet) <= _HEAD_BYTES + _TAIL_BYTES:
        return packet
    return packet[:_HEAD_BYTES] + packet[-_TAIL_BYTES:]


def _mode_flags(setup: bytes) -> tuple[int, ...]:
    """Block flags of the modes, which are the last thing in a setup header.

    What comes before them would take a parser of codebooks. From the end backwards the modes are
    plain: each has 41 bits whose middle 32 are zero, and in front of the first one stands their
    number less one in 6 bits. FFmpeg and Tremor find them in the same way.
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


def _flac_samples(frame: bytes) -> int:
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:  # noqa: PLR2004  # sync
        return 0
    code = frame[2] >> 4
    if code == 1:
        return 192
    if code in {2, 3, 4, 5}:
        return 576 << code - 2
    if code >= 8:  # noqa: PLR2004  # 256 and its doubles
        return 256 << code - 8
    # 6, 7: one or two bytes at the header's end, after the frame's number in UTF-8's manner.
    first = frame[4]
    number = 1 if first < 0x80 else 8 - (first ^ 0xFF).bit_length()  # noqa: PLR2004
    size = frame[4 + number : 4 + number + code - 5]
    return int.from_bytes(size, "big") + 1 if code in {6, 7} and size else 0
