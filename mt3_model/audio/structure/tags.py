"""Metadata tags before, between and after the frames of an mp3 or aac: find where they end."""

from mt3_model.audio.file_views import FileWindow

_ID3_HEADER_BYTES = 10
_MAX_LYRICS_BYTES = 1 << 20
_TAG_MARKS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")
_FRAME_HEADER_BYTES = 4


def after_id3(window: FileWindow, offset: int = 0) -> int:
    """Return the offset of the first byte after any ID3v2 tags at ``offset``.

    Source: ID3v2.4 structure, 3.1: size as four bytes of seven bits, without the header; flag
    0x10 announces a footer of ten more bytes.
    """
    while True:
        head = window.at(offset, _ID3_HEADER_BYTES)
        if len(head) < _ID3_HEADER_BYTES or not head.startswith(b"ID3"):
            return offset
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        footer = _ID3_HEADER_BYTES if head[5] & 0x10 else 0
        offset += _ID3_HEADER_BYTES + size + footer


def skip_tags(window: FileWindow, offset: int) -> int:
    """Return the offset of the first byte after tags of any kind at ``offset``.

    Source: ID3v1 (128 bytes; the extended tag has 227 more in front); APEv2 (size at 12, without
    the header of 32 bytes); Lyrics3 and Lyrics3v2 (text up to its closing mark).
    """
    while True:
        head = window.at(offset, 32)
        if head.startswith(b"TAG+"):
            size = 227
        elif head.startswith(b"TAG"):
            size = 128
        elif head.startswith(b"3DI"):  # ID3v2's footer
            size = 10
        elif head.startswith(b"APETAGEX"):
            is_header = len(head) > 23 and bool(head[23] & 0x20)  # noqa: PLR2004  # flags, bit 29
            size = 32 + int.from_bytes(head[12:16], "little") if is_header else 32
        elif head.startswith(b"LYRICSBEGIN"):
            size = _lyrics_bytes(window, offset)
        else:
            size = after_id3(window, offset) - offset
        if size == 0:
            return offset
        offset += size


def is_tag_or_end(window: FileWindow, offset: int) -> bool:
    """Whether a tag begins at ``offset`` or the file ends: the end of a stream, not damage."""
    head = window.at(offset, 16)
    return len(head) < _FRAME_HEADER_BYTES or head.startswith(_TAG_MARKS)


def _lyrics_bytes(window: FileWindow, offset: int) -> int:
    text = window.at(offset, _MAX_LYRICS_BYTES)
    ends = [text.find(mark) + len(mark) for mark in (b"LYRICSEND", b"LYRICS200") if mark in text]
    return min(ends, default=len(b"LYRICSBEGIN"))
