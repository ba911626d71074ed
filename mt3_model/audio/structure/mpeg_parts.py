"""All frames of an mp3 -> the recordings joined in it, where they are damaged, whether one is cut.

mpg123 (inside libsndfile) skips what it cannot read without a word and ends at the first tag or
at the count of the first header, so a cut, damaged or joined mp3 looks like a good short one.
Frame headers give each frame's length, so walking from header to header finds every break in the
chain; a payload may still be wrong, which an mp3 cannot tell.

A new part begins at a frame with an encoder's tag, behind tags of other kinds (ID3, APE, Lyrics3),
where rate or channels change, and where more frames follow than the encoder's tag counts.
"""

import dataclasses

from mt3_model.audio.file_views import FileWindow, after_id3
from mt3_model.audio.structure.mpeg_frames import (
    DECODER_DELAY,
    HEADER,
    EncoderTag,
    FrameHeader,
    begins_stream,
    find_frame_chain,
    is_trailer,
    parse_header,
    read_tag,
)

SEARCHED_BYTES = 16 << 20
"""How far into a file the first frame is looked for."""
_MAX_PARTS = 10_000
_MANY_FRAMES = 5  # more than encoders miscount by
_MAX_LYRICS_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MpegPart:
    """One recording in the file."""

    start: int
    """Offset of its first byte for a decoder: behind the encoder's tag where that is not used."""
    stop: int
    skip: int
    """Samples to drop in front; 0 where the encoder's tag makes the decoder do it."""
    seconds: float
    """Length of its whole frames, less ``skip``."""
    is_exact: bool
    """The encoder's tag gives the exact length, and libsndfile uses it."""
    has_breaks: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FrameScan:
    """What walking all frames found."""

    parts: tuple[MpegPart, ...]
    is_truncated: bool
    """The last frame is cut, the last tag counts more frames than there are, or the parts are
    too many."""
    breaks: int
    """Places where no frame follows a frame, or a part before the last lacks frames."""
    first_break: float | None
    """Seconds of sound before the first break."""


def find_first_frame(window: FileWindow) -> int | None:
    """Find the first frame, behind ID3 tags or whatever else is in front of it."""
    behind = after_id3(window)
    if find_frame_chain(window, behind, behind + 1) is not None:
        return behind
    # The tag's size is wrong, or something else is in front.
    return find_frame_chain(window, 0, min(window.size, SEARCHED_BYTES))


def scan_frames(window: FileWindow) -> FrameScan | None:
    """Walk an mp3 from its first frame to its end.

    Returns:
        What was found; None where no chain of frames is (free-format streams among them).
    """
    offset = find_first_frame(window)
    if offset is None:
        return None
    walk = _Walk(window)
    while offset is not None and len(walk.parts) < _MAX_PARTS:
        offset = walk.walk_part(offset)
    return FrameScan(
        parts=tuple(walk.parts),
        is_truncated=walk.is_cut or offset is not None,
        breaks=walk.breaks,
        first_break=walk.first_break,
    )


def skip_tags(window: FileWindow, offset: int) -> int:
    """Offset of the first byte after tags of any kind at ``offset``.

    Source: ID3v1 (128 bytes, 227 more in front where extended); APEv2 (size at 12, without a
    header of 32 bytes); Lyrics3 and Lyrics3v2 (text up to its closing mark).
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


class _Walk:
    """What is known after the parts so far."""

    def __init__(self, window: FileWindow) -> None:
        self.parts: list[MpegPart] = []
        self.is_cut = False
        self.breaks = 0
        self.first_break: float | None = None
        self._window = window
        self._seconds = 0.0  # of the parts before the one being walked

    def walk_part(self, offset: int) -> int | None:
        """Walk the part at ``offset``; return the next one's offset, or None at the end."""
        window = self._window
        first = parse_header(window.at(offset, HEADER))
        assert first is not None
        part = _OpenPart(offset, first, read_tag(window, offset, first))
        following: int | None = None
        while following is None:
            header = parse_header(window.at(part.at, HEADER))
            if header is None or header.kind != first.kind:
                following = self._next_part(part)
                if following is None and not part.is_resumed:
                    break
                continue
            if part.at + header.size > window.size:
                part.is_cut = True
                break
            if part.frames and self._begins_part(part, header):
                following = part.at
                break
            part.add(header)
        self._close(part, is_last=following is None)
        return following

    def _begins_part(self, part: "_OpenPart", header: FrameHeader) -> bool:
        """Whether the next frame is another recording's first."""
        window = self._window
        if read_tag(window, part.at, header) is not None:
            return True
        counted = part.tag is not None and part.tag.frames == part.frames
        if not counted or not _many_follow(window, part.at, header.kind):
            return False
        if begins_stream(window, part.at, header):
            return True
        part.is_miscounted = True  # one recording, and the count is wrong
        return False

    def _next_part(self, part: "_OpenPart") -> int | None:
        """Find what follows where the chain of frames ends.

        Returns:
            The next part's offset; None where there is none, and where the same part resumes
            behind damage.
        """
        window = self._window
        part.is_resumed = False
        behind = skip_tags(window, part.at)
        if behind == window.size:
            return None
        if find_frame_chain(window, behind, behind + 1) is not None:
            return behind
        is_tagged = behind > part.at
        # From inside the last frame on: it may be cut where the next recording begins.
        searched = part.at + 1 if is_tagged else part.last + 1
        found = find_frame_chain(window, searched, window.size, kind=part.first.kind)
        if found is None or is_tagged:
            return found
        if found < part.at:
            part.drop_last()
        self._break_at(part)
        header = parse_header(window.at(found, HEADER))
        assert header is not None
        if header.kind != part.first.kind or read_tag(window, found, header) is not None:
            return found
        part.resume(found)
        return None

    def _break_at(self, part: "_OpenPart") -> None:
        self.breaks += 1
        if self.first_break is None:
            self.first_break = self._seconds + part.frames * part.frame_seconds

    def _close(self, part: "_OpenPart", *, is_last: bool) -> None:
        lost = part.lost_frames
        if is_last:
            self.is_cut |= part.is_cut or lost > 0
        elif lost > 1:
            self._break_at(part)
        closed = part.closed()
        self._seconds += closed.seconds
        self.parts.append(closed)


class _OpenPart:
    """One part while it is walked."""

    def __init__(self, offset: int, first: FrameHeader, tag: EncoderTag | None) -> None:
        self.first = first
        self.tag = tag
        self.frames = 0
        self.at = offset if tag is None else offset + first.size  # a tag's frame holds no sound
        self.last = offset
        self.is_cut = False
        self.is_miscounted = False
        self.has_breaks = False
        self.is_resumed = False
        self._offset = offset
        self._behind_tag = self.at

    @property
    def frame_seconds(self) -> float:
        return self.first.samples / self.first.sample_rate

    @property
    def lost_frames(self) -> int:
        """How many more frames the encoder's tag counts than there are, damage apart."""
        if self.tag is None or self.has_breaks:
            return 0
        return max(0, self.tag.frames - self.frames)

    def add(self, header: FrameHeader) -> None:
        self.frames += 1
        self.last = self.at
        self.at += header.size

    def drop_last(self) -> None:
        self.frames = max(0, self.frames - 1)
        self.at = self.last

    def resume(self, offset: int) -> None:
        self.has_breaks = self.is_resumed = True
        self.at = offset

    def closed(self) -> MpegPart:
        tag = self.tag
        says_delay = tag is not None and tag.frames > 0 and tag.delay is not None
        is_exact = says_delay and not (self.has_breaks or self.is_miscounted)
        skip = self.first.delay
        if tag is not None and tag.delay is not None:
            skip = DECODER_DELAY + tag.delay
        skip = 0 if is_exact else skip
        seconds = self.frames * self.frame_seconds - skip / self.first.sample_rate
        return MpegPart(
            start=self._offset if is_exact else self._behind_tag,
            stop=self.at,
            skip=skip,
            seconds=max(0.0, seconds),
            is_exact=is_exact,
            has_breaks=self.has_breaks,
        )


def _many_follow(window: FileWindow, offset: int, kind: int) -> bool:
    """Whether more frames follow than an encoder miscounts by."""
    for _ in range(_MANY_FRAMES):
        header = parse_header(window.at(offset, HEADER))
        if header is None or header.kind != kind:
            return False
        offset += header.size
    return not is_trailer(window, offset)


def _lyrics_bytes(window: FileWindow, offset: int) -> int:
    text = window.at(offset, _MAX_LYRICS_BYTES)
    ends = [text.find(mark) + len(mark) for mark in (b"LYRICSEND", b"LYRICS200") if mark in text]
    return min(ends, default=len(b"LYRICSBEGIN"))
