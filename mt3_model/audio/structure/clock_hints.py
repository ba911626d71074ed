"""Read times from the structure of an mp4 or CAF that FFmpeg does not report."""

import dataclasses

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import chunks, containers
from mt3_model.audio.structure.containers import Container

_MAX_PRIMING_FRAMES = 1 << 14


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClockHints:
    """Facts about a recording's clock, from the file's structure."""

    start: float | None = None
    """Seconds of the recording's clock at its first sample, where the structure is more reliable
    than FFmpeg's times; negative where sound before 0 is to be dropped."""
    seconds: float | None = None
    """Length of the recording from time 0 of its clock, where ``start`` is known."""
    is_fragmented: bool = False
    """The file is an mp4 in fragments, which may begin at any time."""
    delay_samples: int | None = None
    """Samples that the decoder returns before the first recorded one."""


NO_HINTS = ClockHints()


def read_clock_hints(window: FileWindow, container: Container) -> ClockHints:
    """Read the clock hints of an mp4 or CAF; other containers have none here."""
    if container is containers.MP4:
        return ClockHints(is_fragmented=_has_fragments(window))
    if container is containers.CAF:
        return ClockHints(delay_samples=_caf_priming(window))
    return NO_HINTS


def _has_fragments(window: FileWindow) -> bool:
    """Whether the index announces fragments. Source: ISO/IEC 14496-12, 8.8.1 (box mvex)."""
    for box in chunks.walk_boxes(window):
        if box.name == b"moov":
            inner = chunks.walk_boxes(window, box.content, box.end)
            return any(each.name == b"mvex" for each in inner)
    return False


def _caf_priming(window: FileWindow) -> int | None:
    """Return the priming frames of a CAF. Source: Apple Core Audio Format 1.0, chunk pakt."""
    table = chunks.find_chunk(window, chunks.CAF, b"pakt")
    if table is None:
        return None
    priming = int.from_bytes(window.at(table.content + 16, 4), "big")
    # Writers that do not know it write 0, and no codec's delay reaches the bound.
    return priming if 0 < priming <= _MAX_PRIMING_FRAMES else None
