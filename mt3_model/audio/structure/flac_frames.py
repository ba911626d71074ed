"""Headers of FLAC frames: find the first, the next or the last one, and read length and number.

Source: RFC 9639, 8 (metadata) and 9.1 (frame header; its last byte is a CRC of 8 bits, polynomial
0x07).
"""

import re
from collections.abc import Iterator

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.tags import after_id3

_SYNC = re.compile(rb"\xff[\xf8\xf9][\x10-\xff]", re.DOTALL)
_SEARCHED_BYTES = 64 * 1024  # the largest frames of 16-bit stereo have 20 KiB
_READ_AHEAD_BYTES = 1 << 20
"""More than a decoder reads at once (8 KiB), and the longest frame (eight channels: 200 KiB)."""
_MOST_OTHER_MARKS = 100_000
"""Marks that are not of the next frame: one in 64 KiB by chance, and up to 75,000 silent frames in
`_READ_AHEAD_BYTES`. A malicious file may consist of them, and each costs up to 25 microseconds."""
_LONGEST_HEADER_BYTES = 16
_LAST_CHANNELS = 10
_MAX_METADATA_BLOCKS = 1_000
_FIXED_SIZE_MARK = b"\xff\xf8"
"""The first bytes of a frame in a stream in which all frames but the last have the same length. Its
frames are numbered from 0."""
_NO_NUMBER = 0xFF  # no first byte of a number
_BLOCK_SIZE_BYTES = {6: 1, 7: 2}  # by block size code
_SAMPLE_RATE_BYTES = {12: 1, 13: 2, 14: 2}  # by sample rate code


def frames_follow(window: FileWindow, offset: int) -> bool:
    """Whether a frame begins after ``offset``, within the length of a frame or two."""
    found = window.matches(_SYNC, offset, offset + _SEARCHED_BYTES)
    return any(_is_header(window.at(at, _LONGEST_HEADER_BYTES)) for at in found)


def frame_samples(frame: bytes) -> int:
    """Return the samples per channel of a frame; 0 where the bytes are not one."""
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:  # noqa: PLR2004  # sync
        return 0
    code = frame[2] >> 4
    if code == 1:
        return 192
    if code in {2, 3, 4, 5}:
        return 576 << code - 2
    if code >= 8:  # noqa: PLR2004  # 256 and its doubles
        return 256 << code - 8
    at, width = 4 + _number_bytes(frame[4]), _BLOCK_SIZE_BYTES.get(code, 0)
    size = frame[at : at + width]
    return int.from_bytes(size, "big") + 1 if size else 0


def ends_with_last_frame(window: FileWindow, samples: int) -> bool:
    """Whether the last frame that a header counts is there once, and no frame after it.

    False where that is not clear: frames of different lengths, tags of 64 KiB behind the sound, or
    bytes inside the last frame that look like the header of another one.

    Args:
        window: the file.
        samples: samples of the recording by its header, at least 1.
    """
    first = window.at(_after_metadata(window), _LONGEST_HEADER_BYTES)
    length = frame_samples(first)
    if not length or not first.startswith(_FIXED_SIZE_MARK) or not _is_header(first):
        return False
    last = _coded_number((samples - 1) // length)
    begin = max(0, window.size - _SEARCHED_BYTES)
    found = window.matches(_SYNC, begin, window.size)
    # A frame of silence may be shorter than the longest header.
    heads = [window.at(at, _LONGEST_HEADER_BYTES).ljust(_LONGEST_HEADER_BYTES) for at in found]
    numbers = [head[4:].startswith(last) for head in heads if _is_header(head)]
    return numbers[-1:] == [True] and sum(numbers) == 1


def samples_in_order(window: FileWindow, *, first: int, past: int, read: int) -> Iterator[int]:
    """Yield up to which sample the frames are there once each and in order, growing to ``past``.

    A decoder counts samples, while a seek finds the number of a frame. Where a frame is there
    twice, or in another's place, or has a wrong number, the two differ from there on. The search
    ends before the first such frame.

    Args:
        window: a file for which `ends_with_last_frame`.
        first: the first sample that is needed.
        past: the sample after the last one, by the header.
        read: bytes that a decoder has read when it is about to decode the first sample.
    """
    begin = _after_metadata(window)
    model = window.at(begin, _LONGEST_HEADER_BYTES)
    length = frame_samples(model)
    if not length:  # the file has just been cut
        return
    number, last = first // length, (past - 1) // length
    lengths = {length, past - last * length}
    has_begun, others = False, 0
    at = window.find(_FIXED_SIZE_MARK, max(begin, read - _READ_AHEAD_BYTES))
    while at >= 0 and others < _MOST_OTHER_MARKS:
        head = window.at(at, _LONGEST_HEADER_BYTES).ljust(_LONGEST_HEADER_BYTES)
        if not _has_format(head, model) or frame_samples(head) not in lengths:
            others += 1
        elif head[4:].startswith(_coded_number(number)):
            has_begun = True
            number += 1
            yield min(number * length, past - 1)
        elif has_begun and _is_header(head):
            return
        else:
            others += 1
        at = window.find(_FIXED_SIZE_MARK, at + 1)
    if at < 0 and number == last + 1:
        yield past


def _after_metadata(window: FileWindow) -> int:
    """Return the offset of the first frame."""
    offset = after_id3(window) + 4
    for _ in range(_MAX_METADATA_BLOCKS):
        head = window.at(offset, 4)
        offset += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 0x80:  # noqa: PLR2004  # the mark of the last block
            break
    return offset


def _coded_number(number: int) -> bytes:
    """Return the number of a frame as headers have it, coded like UTF-8."""
    if number < 0x80:  # noqa: PLR2004  # seven bits
        return bytes([number])
    count = 2  # bytes; each but the first has six bits
    while number >> 5 * count + 1:
        count += 1
    rest = [0x80 | number >> 6 * place & 0x3F for place in reversed(range(count - 1))]
    return bytes([0xFF << 8 - count & 0xFF | number >> 6 * (count - 1), *rest])


def _is_header(head: bytes) -> bool:
    if len(head) < _LONGEST_HEADER_BYTES or head[3] & 1 or head[4] == _NO_NUMBER:
        return False
    if head[3] >> 4 > _LAST_CHANNELS:
        return False
    size = 4 + _number_bytes(head[4])
    size += _BLOCK_SIZE_BYTES.get(head[2] >> 4, 0) + _SAMPLE_RATE_BYTES.get(head[2] & 15, 0)
    return _checksum(head[:size]) == head[size]


def _has_format(head: bytes, model: bytes) -> bool:
    """Whether two headers name the same sample rate and sample size."""
    return (head[2] ^ model[2]) & 0xF == 0 and (head[3] ^ model[3]) & 0xF == 0


def _number_bytes(first: int) -> int:
    """Return the length of the frame's number, which is coded like UTF-8, by its first byte."""
    return max(1, 8 - (first ^ 0xFF).bit_length())


def _checksum(content: bytes) -> int:
    checksum = 0
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum << 1 & 0xFF ^ (0x07 if checksum & 0x80 else 0)
    return checksum
