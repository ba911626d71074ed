"""A file's own structure -> whether it is whole, before anything is decoded.

Decoders make the best of what they get and keep silent about it. The structure tells: sizes that
a container declares (`declared_length.py`), the chain of an mp3's frames (`mpeg_frames.py`), the
pages of an Ogg file (`ogg_pages.py`).
"""

import dataclasses

from mt3_model.audio import containers, declared_length, mpeg_frames, ogg_pages
from mt3_model.audio.clock_hints import NO_HINTS, ClockHints, read_clock_hints
from mt3_model.audio.containers import Container
from mt3_model.audio.windows import FileWindow


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What the structure says."""

    is_truncated: bool = False
    """The file ends before its container does."""
    breaks: int = 0
    """Damaged places."""
    first_break: float | None = None
    """Seconds before the first of them, where known."""
    needs_ffmpeg: bool = False
    """libsndfile would read it, but wrongly."""
    seconds: float | None = None
    """The whole length, where only the structure tells it."""
    clock: ClockHints = NO_HINTS
    """What it says of times."""


def inspect_structure(window: FileWindow, container: Container) -> Inspection:
    """Looks for cuts and damage in the file's own structure."""
    if container is containers.OGG:
        pages = ogg_pages.scan_pages(window)
        # libsndfile takes the first sample for the clock's 0, whatever its position.
        is_shifted = bool(pages.start)
        return Inspection(
            is_truncated=pages.is_truncated,
            breaks=pages.breaks,
            first_break=pages.first_break,
            # libsndfile reads the first link of a chain only, and closes up over lost pages.
            needs_ffmpeg=pages.is_chained or pages.breaks > 0 or is_shifted,
            seconds=pages.seconds if is_shifted else None,
            clock=ClockHints(start=pages.start, seconds=pages.seconds),
        )
    if container is containers.MP3:
        frames = mpeg_frames.scan_frames(window)
        if frames is None:
            return Inspection()
        return Inspection(
            is_truncated=frames.is_truncated,
            breaks=frames.breaks,
            first_break=frames.first_break,
            needs_ffmpeg=frames.breaks > 0,  # mpg123 gives up after 1,024 bytes of damage
            seconds=None if frames.has_count else frames.seconds,
        )
    return Inspection(
        is_truncated=declared_length.ends_early(window, container),
        clock=read_clock_hints(window, container),
    )
