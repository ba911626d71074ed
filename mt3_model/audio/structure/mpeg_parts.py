"""Walk all frames of an mp3: find the recordings joined in it, damage, and a cut end.

mpg123 (inside libsndfile) silently skips what it cannot read, and ends at the first tag or at the
count of the first header, so a cut, damaged or joined mp3 looks like a good short one. Frame
headers state the length of each frame, so walking from header to header finds every break in the
chain. Damage inside a frame stays unknown, because an mp3 has no checksum for it.

A new part begins at a frame with an encoder's tag, after tags of other kinds (ID3, APE, Lyrics3),
where the rate or the channels change, and where more frames follow than the encoder's tag counts.
"""

import dataclasses

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.codec_delays import LAYER3_DECODER_DELAY
from mt3_model.audio.structure.mpeg_frames import (
    HEADER_BYTES,
    EncoderTag,
    FrameHeader,
    begins_stream,
    find_frame_chain,
    parse_header,
    read_encoder_tag,
)
from mt3_model.audio.structure.tags import after_id3, is_tag_or_end, skip_tags

SEARCHED_BYTES = 16 << 20
"""Bytes at the beginning of a file in which the first frame is searched for."""
_MAX_PARTS = 10_000
_MANY_FRAMES = 5  # more than encoders miscount by


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MpegPart:
    """One recording in the file."""

    start: int
    """Offset of the first byte for a decoder: after the encoder's tag where that is not used."""
    stop: int
    skip: int
    """Samples to drop at the beginning; 0 where the encoder's tag makes the decoder drop them."""
    seconds: float
    """Length of the whole frames, less ``skip``."""
    is_exact: bool
    """Whether the encoder's tag states the exact length, which libsndfile then uses."""
    has_breaks: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FrameScan:
    """The result of walking all frames."""

    parts: tuple[MpegPart, ...]
    is_truncated: bool
    """The last frame is cut, the last tag counts more frames than there are, or there are too many
    parts."""
    breaks: int
    """Places where no frame follows a frame, or where a part before the last lacks frames."""
    first_break: float | None
    """Seconds of sound before the first break."""


def find_first_frame(window: FileWindow) -> int | None:
    """Find the first frame, after ID3 tags or anything else."""
    after_tags = after_id3(window)
    if find_frame_chain(window, after_tags, after_tags + 1) is not None:
        return after_tags
    # The size of the tag is wrong, or something else is in front.
    return find_frame_chain(window, 0, min(window.size, SEARCHED_BYTES))


def scan_frames(window: FileWindow) -> FrameScan | None:
    """Walk an mp3 from its first frame to its end.

    Returns:
        The parts and breaks; None where there is no chain of frames, as in free-format streams.
    """
    offset = find_first_frame(window)
    if offset is None:
        return None
    walker = _FrameWalker(window)
    while offset is not None and len(walker.parts) < _MAX_PARTS:
        offset = walker.walk_part(offset)
    return FrameScan(
        parts=tuple(walker.parts),
        is_truncated=walker.is_cut or offset is not None,
        breaks=walker.breaks,
        first_break=walker.first_break,
    )


class _FrameWalker:
    """Walks the parts of a file, one call of `walk_part` for each."""

    def __init__(self, window: FileWindow) -> None:
        self.parts: list[MpegPart] = []
        self.is_cut = False
        self.breaks = 0
        self.first_break: float | None = None
        self._window = window
        self._seconds = 0.0  # of the finished parts

    def walk_part(self, offset: int) -> int | None:
        """Walk the part at ``offset``; return the offset of the next one, or None at the end."""
        window = self._window
        first = parse_header(window.at(offset, HEADER_BYTES))
        assert first is not None
        part = _CurrentPart(offset, first, read_encoder_tag(window, offset, first))
        next_part: int | None = None
        while next_part is None:
            header = parse_header(window.at(part.at, HEADER_BYTES))
            if header is None or header.kind != first.kind:
                next_part = self._find_next_part(part)
                if next_part is None and not part.is_resumed:
                    break
                continue
            if part.at + header.size > window.size:
                part.is_cut = True
                break
            if part.frames and self._begins_part(part, header):
                next_part = part.at
                break
            part.add_frame(header)
        self._finish(part, is_last=next_part is None)
        return next_part

    def _begins_part(self, part: "_CurrentPart", header: FrameHeader) -> bool:
        """Whether the next frame is the first one of another recording."""
        window = self._window
        if read_encoder_tag(window, part.at, header) is not None:
            return True
        is_counted = part.tag is not None and part.tag.frames == part.frames
        if not is_counted or not _many_follow(window, part.at, header.kind):
            return False
        if begins_stream(window, part.at, header):
            return True
        part.is_miscounted = True  # one recording with a wrong count
        return False

    def _find_next_part(self, part: "_CurrentPart") -> int | None:
        """Find what follows where the chain of frames ends.

        Returns:
            The offset of the next part; None where there is none, and where the same part resumes
            after damage.
        """
        window = self._window
        part.is_resumed = False
        after_tags = skip_tags(window, part.at)
        if after_tags == window.size:
            return None
        if find_frame_chain(window, after_tags, after_tags + 1) is not None:
            return after_tags
        is_tagged = after_tags > part.at
        # From inside the last frame on: the next recording may begin before its end.
        searched = part.at + 1 if is_tagged else part.last + 1
        found = find_frame_chain(window, searched, window.size, kind=part.first.kind)
        if found is None or is_tagged:
            return found
        if found < part.at:
            part.drop_last_frame()
        self._add_break(part)
        header = parse_header(window.at(found, HEADER_BYTES))
        assert header is not None
        is_other = read_encoder_tag(window, found, header) is not None
        if is_other or header.kind != part.first.kind:
            return found
        part.resume(found)
        return None

    def _add_break(self, part: "_CurrentPart") -> None:
        self.breaks += 1
        if self.first_break is None:
            self.first_break = self._seconds + part.frames * part.frame_seconds

    def _finish(self, part: "_CurrentPart", *, is_last: bool) -> None:
        lost = part.lost_frames
        if is_last:
            self.is_cut |= part.is_cut or lost > 0
        elif lost > 1:
            self._add_break(part)
        finished = part.finish()
        self._seconds += finished.seconds
        self.parts.append(finished)


class _CurrentPart:
    """The part being walked."""

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
        self._after_tag = self.at

    @property
    def frame_seconds(self) -> float:
        return self.first.samples / self.first.sample_rate

    @property
    def lost_frames(self) -> int:
        """Frames that the encoder's tag counts and the file lacks, damage apart."""
        if self.tag is None or self.has_breaks:
            return 0
        return max(0, self.tag.frames - self.frames)

    def add_frame(self, header: FrameHeader) -> None:
        self.frames += 1
        self.last = self.at
        self.at += header.size

    def drop_last_frame(self) -> None:
        self.frames = max(0, self.frames - 1)
        self.at = self.last

    def resume(self, offset: int) -> None:
        self.has_breaks = self.is_resumed = True
        self.at = offset

    def finish(self) -> MpegPart:
        tag = self.tag
        has_delay = tag is not None and tag.frames > 0 and tag.delay is not None
        is_exact = has_delay and not (self.has_breaks or self.is_miscounted)
        skip = self.first.delay
        if tag is not None and tag.delay is not None:
            skip = LAYER3_DECODER_DELAY + tag.delay
        skip = 0 if is_exact else skip
        seconds = self.frames * self.frame_seconds - skip / self.first.sample_rate
        return MpegPart(
            start=self._offset if is_exact else self._after_tag,
            stop=self.at,
            skip=skip,
            seconds=max(0.0, seconds),
            is_exact=is_exact,
            has_breaks=self.has_breaks,
        )


def _many_follow(window: FileWindow, offset: int, kind: int) -> bool:
    """Whether more frames follow than an encoder miscounts by."""
    for _ in range(_MANY_FRAMES):
        header = parse_header(window.at(offset, HEADER_BYTES))
        if header is None or header.kind != kind:
            return False
        offset += header.size
    return not is_tag_or_end(window, offset)
