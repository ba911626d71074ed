"""A file's bytes -> its container and whether it is whole: the parsers that are our own Python.

`sniff_container`, then `inspect_structure` for the container found and, because each parser must
stand any bytes whatever the sniffer thinks, every one of them on the same file.
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
"""For some kilobytes; more is a loop that a caller can stretch."""
_CONTAINERS = tuple(
    value for value in vars(containers).values() if isinstance(value, containers.Container)
)


@functools.cache
def seeds() -> list[bytes]:
    """The heads of recordings of every kind: structure is at the head."""
    whole = list(seed_recordings().values())
    tagged = [b"ID3\x04\x00\x00\x00\x00\x00\x03abc" + content[:2_000] for content in whole[-9:]]
    return [content[:6_000] for content in whole] + tagged


@functools.cache
def _file() -> int:
    """One nameless file for all inputs."""
    descriptor, name = tempfile.mkstemp()
    pathlib.Path(name).unlink()
    return descriptor


def as_file(data: bytes) -> int:
    """Gives the descriptor of an open file that holds the bytes, until the next call."""
    descriptor = _file()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def check(data: bytes) -> None:
    """Every parser ends, in time, with numbers that can be."""
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
