"""A file's own structure -> which recordings it holds and whether they are whole.

Decoders make the best of what they get and keep silent about it. The structure tells: sizes that
a container declares (`declared_length.py`), containers that follow each other
(`joined_parts.py`), the frames of an mp3 (`mpeg_parts.py`), the pages of an Ogg file
(`ogg_pages.py`). This happens before anything is decoded.
"""

import dataclasses
from collections.abc import Mapping

from mt3_model.audio.file_views import FileWindow, after_id3
from mt3_model.audio.structure import (
    adts_frames,
    containers,
    declared_sizes,
    joined_parts,
    mpeg_parts,
    ogg_pages,
)
from mt3_model.audio.structure.clock_hints import NO_HINTS, ClockHints, read_clock_hints
from mt3_model.audio.structure.containers import Container


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One recording in the file; nearly every file has one."""

    start: int = 0
    """Offset of its first byte."""
    stop: int | None = None
    """Offset after its last byte; None for the file's end."""
    needs_ffmpeg: bool = False
    """libsndfile would read it, but wrongly."""
    seconds: float | None = None
    """Its length, where only the structure tells it."""
    skip: int = 0
    """Samples in front that are the codec's delay, and that no decoder drops."""
    skips_first_frame: bool = False
    """The first decoded frame is the codec's delay."""
    clock: ClockHints = NO_HINTS
    """What its structure says of times."""
    patches: Mapping[int, bytes] = dataclasses.field(default_factory=dict[int, bytes])
    """Bytes to show the decoder in the place of the file's own, by their offset in the part."""

    @property
    def is_whole_file(self) -> bool:
        """Whether a decoder may read the file itself."""
        return self.start == 0 and self.stop is None and not self.patches


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What the structure says."""

    parts: tuple[Part, ...] = (Part(),)
    """The recordings, in order."""
    is_truncated: bool = False
    """The file ends before its container does, or holds more than is read."""
    breaks: int = 0
    """Damaged places."""
    first_break: float | None = None
    """Seconds before the first of them, where known."""
    most_seconds: float | None = None
    """No more sound than this is in the file; None where only decoding tells."""


def inspect_structure(window: FileWindow, container: Container) -> Inspection:
    """Looks for parts, cuts and damage in the file's own structure."""
    if container is containers.OGG:
        return _inspect_ogg(window)
    if container is containers.MP3:
        return _inspect_mp3(window)
    if container is containers.AAC:
        return _inspect_adts(window)
    ranges, is_more = joined_parts.find_ranges(window, container)
    parts = tuple(
        Part(
            start=start,
            stop=stop,
            clock=read_clock_hints(window.after(start), container),
            patches=_patches(window, start, stop),
        )
        for start, stop in ranges
    )
    ends_early = declared_sizes.ends_early(window.after(ranges[-1][0]), container)
    return Inspection(parts=parts, is_truncated=ends_early or is_more)


def _inspect_ogg(window: FileWindow) -> Inspection:
    pages = ogg_pages.scan_pages(window)
    # libsndfile takes the first sample for the clock's 0, whatever its position; it reads the
    # first link of a chain only, and closes up over lost pages.
    is_shifted = bool(pages.start)
    part = Part(
        needs_ffmpeg=pages.is_chained or pages.breaks > 0 or is_shifted,
        seconds=pages.seconds if is_shifted else None,
        clock=ClockHints(start=pages.start, seconds=pages.seconds),
    )
    return Inspection(
        parts=(part,),
        is_truncated=pages.is_truncated,
        breaks=pages.breaks,
        first_break=pages.first_break,
    )


def _inspect_mp3(window: FileWindow) -> Inspection:
    scan = mpeg_parts.scan_frames(window)
    if scan is None:
        return Inspection()
    is_plain = len(scan.parts) == 1 and scan.parts[0].start == after_id3(window)
    parts = tuple(
        Part(
            start=0 if is_plain else part.start,
            stop=None if is_plain else part.stop,
            needs_ffmpeg=part.has_breaks,  # mpg123 gives up after 1,024 bytes of damage
            seconds=None if part.is_exact else part.seconds,
            skip=part.skip,
        )
        for part in scan.parts
    )
    return Inspection(
        parts=parts,
        is_truncated=scan.is_truncated,
        breaks=scan.breaks,
        first_break=scan.first_break,
        most_seconds=sum(part.seconds for part in scan.parts),
    )


def _inspect_adts(window: FileWindow) -> Inspection:
    start = adts_frames.find_adts_frame(window, searched_bytes=mpeg_parts.SEARCHED_BYTES)
    is_plain = start is None or start == after_id3(window)
    return Inspection(parts=(Part(start=0 if is_plain else start or 0, skips_first_frame=True),))


def _patches(window: FileWindow, start: int, stop: int | None) -> Mapping[int, bytes]:
    end = window.size if stop is None else stop
    return declared_sizes.fill_in_size(window.after(start), end - start)
