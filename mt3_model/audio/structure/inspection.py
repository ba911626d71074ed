"""Find out which recordings a file contains and whether they are complete, before decoding.

Decoders read what they can and do not report what is missing. The structure of the file shows it:
sizes that a container declares (`declared_sizes.py`), containers that follow each other
(`joined_parts.py`), the frames of an mp3 (`mpeg_parts.py`), the pages of an Ogg file
(`ogg_pages.py`).
"""

import dataclasses
from collections.abc import Mapping

from mt3_model.audio.file_views import FileWindow
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
from mt3_model.audio.structure.tags import after_id3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One recording in the file; nearly every file has exactly one."""

    start: int = 0
    """Offset of the first byte."""
    stop: int | None = None
    """Offset after the last byte; None for the end of the file."""
    needs_ffmpeg: bool = False
    """Whether libsndfile would read it wrongly."""
    seconds: float | None = None
    """Length in seconds, where only the structure states it."""
    skip: int = 0
    """Samples of codec delay at the beginning that no decoder drops."""
    skips_first_frame: bool = False
    """Whether the first decoded frame is codec delay."""
    clock: ClockHints = NO_HINTS
    """Facts about the clock from the structure."""
    patches: Mapping[int, bytes] = dataclasses.field(default_factory=dict[int, bytes])
    """Bytes that replace those of the file for the decoder, by their offset in the part."""

    @property
    def is_whole_file(self) -> bool:
        """Whether a decoder may read the file itself."""
        return self.start == 0 and self.stop is None and not self.patches


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """The structure of a file."""

    parts: tuple[Part, ...] = (Part(),)
    """The recordings, in order."""
    is_truncated: bool = False
    """The file ends before its container does, or has sound that is not read."""
    breaks: int = 0
    """Number of damaged places."""
    first_break: float | None = None
    """Position of the first damaged place in seconds, where known."""
    most_seconds: float | None = None
    """Upper bound of the seconds of sound; None where only decoding shows it."""


def inspect_structure(window: FileWindow, container: Container) -> Inspection:
    """Find the parts, cuts and damage of a file from its structure."""
    if container is containers.OGG:
        return _inspect_ogg(window)
    if container is containers.MP3:
        return _inspect_mp3(window)
    if container is containers.AAC:
        return _inspect_adts(window)
    if container is containers.AC3:
        # FFmpeg's demuxer passes an ID3 tag on as a packet, which its decoder treats as damage.
        return Inspection(parts=(Part(start=after_id3(window)),))
    joined = joined_parts.find_parts(window, container)
    parts = tuple(
        Part(
            start=each.start,
            stop=each.stop,
            clock=read_clock_hints(window.after(each.start), container),
            patches=_patches(window, each),
        )
        for each in joined.ranges
    )
    ends_early = declared_sizes.ends_early(window.after(parts[-1].start), container)
    return Inspection(parts=parts, is_truncated=ends_early or joined.has_unread_rest)


def _inspect_ogg(window: FileWindow) -> Inspection:
    pages = ogg_pages.scan_pages(window)
    # libsndfile gives the first sample the time 0, whatever its position; it reads only the
    # first link of a chain, and leaves out lost pages without a gap.
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
            needs_ffmpeg=part.has_breaks,  # mpg123 stops after 1,024 bytes of damage
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


def _patches(window: FileWindow, part: joined_parts.PartRange) -> Mapping[int, bytes]:
    end = window.size if part.stop is None else part.stop
    return declared_sizes.placeholder_patches(window.after(part.start), end - part.start)
