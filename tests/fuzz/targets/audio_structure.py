"""Inspect arbitrary bytes with our own parsers: `sniff_container` and `inspect_structure`.

`inspect_structure` runs for every container on the same bytes, because each parser must accept any
bytes.
"""

import functools
import math
import os
import pathlib
import tempfile
import time

from mt3_model.audio import file_views
from mt3_model.audio.structure import (
    adts_frames,
    chunks,
    clock_hints,
    containers,
    declared_sizes,
    flac_frames,
    inspection,
    joined_parts,
    mpeg_frames,
    mpeg_parts,
    ogg_packets,
    ogg_pages,
    tags,
)
from tests.fuzz.sounds import seed_recordings
from tests.fuzz.targets.fuzzing import Violation, fuzz, refusals_allowed

MODULES = (
    adts_frames, chunks, clock_hints, containers, declared_sizes, file_views, flac_frames,
    inspection, joined_parts, mpeg_frames, mpeg_parts, ogg_packets, ogg_pages, tags,
)  # fmt: skip
_SLOWEST_SECONDS = 2.0
"""Time limit for some kilobytes; a longer time shows a loop that an attacker could extend."""
_CONTAINERS = tuple(
    value for value in vars(containers).values() if isinstance(value, containers.Container)
)


@functools.cache
def seeds() -> list[bytes]:
    """Return the first bytes of recordings of every kind, which hold most of the structure."""
    whole = list(seed_recordings().values())
    tagged = [b"ID3\x04\x00\x00\x00\x00\x00\x03abc" + content[:2_000] for content in whole[-9:]]
    return [content[:6_000] for content in whole] + tagged


@functools.cache
def _file() -> int:
    """Return the descriptor of one unnamed file for all inputs."""
    descriptor, name = tempfile.mkstemp()
    pathlib.Path(name).unlink()
    return descriptor


def as_file(data: bytes) -> int:
    """Return the descriptor of an open file with the bytes, valid until the next call."""
    descriptor = _file()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def check(data: bytes) -> None:
    """Check that every parser ends in time with valid numbers."""
    descriptor = as_file(data)
    window = file_views.FileWindow(descriptor)
    began = time.monotonic()
    with refusals_allowed():
        container = containers.sniff_container(window)
        if not container.ffmpeg_format:
            raise Violation(f"{container} has no demuxer")
    for container in _CONTAINERS:
        found = inspection.inspect_structure(file_views.FileWindow(descriptor), container)
        lengths = (found.first_break, found.most_seconds, *(part.seconds for part in found.parts))
        seconds = [value for value in lengths if value is not None]
        starts = [part.start for part in found.parts]
        if starts != sorted(set(starts)) or starts[0] < 0:
            raise Violation(f"{container.name}: parts begin at {starts}")
        if found.breaks < 0 or not all(math.isfinite(value) and value >= 0 for value in seconds):
            raise Violation(f"{container.name}: {found}")
    if time.monotonic() - began > _SLOWEST_SECONDS:
        raise Violation(f"{len(data):,} bytes took {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    fuzz(check, seeds(), MODULES)
