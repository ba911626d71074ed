"""Decode an Ogg Vorbis file in several threads, with the samples and blocks of one.

libsndfile's own seek is not used: one in two hundred ends up to a block beside its target
(libsndfile 1.2.2). Instead each thread decodes a small Ogg file in memory, which consists of the
headers and some pages of the recording (`structure/vorbis_pages.py`). As in `parallel_flac.py`,
nothing more is yielded from the first irregularity on, and the caller reads from the beginning.
"""

import contextlib
import functools
import io
import os
from collections.abc import Callable, Generator

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.sources.parallel import (
    IRREGULARITIES,
    SeekableFile,
    find_borders,
    run_in_order,
)
from mt3_model.audio.structure.vorbis_pages import PageRange, find_page_ranges

_Blocks = list[Float32[np.ndarray, "_ C"]]


def vorbis_blocks(
    descriptor: int,
    open_file: Callable[[io.BytesIO], SeekableFile],
    *,
    past: int,
    block_samples: int,
    channels: int,
    threads: int,
) -> Generator[Float32[np.ndarray, "_ C"]]:
    """Yield the samples ``[0, past)`` in blocks, up to the first irregularity.

    Args:
        descriptor: the recording, read by offset.
        open_file: opens a decoder of a file in memory.
        past: the sample after the last one, by the position of the last page.
        block_samples: samples of each block but the last.
        channels: number of channels.
        threads: number of threads.
    """
    borders = find_borders(0, past, block_samples, channels)
    jobs = (
        functools.partial(_decode, descriptor, open_file, pages, block_samples)
        for pages in find_page_ranges(FileWindow(descriptor), borders)
    )
    with contextlib.closing(run_in_order(jobs, threads=threads)) as stretches:
        for blocks in stretches:
            yield from blocks


def _decode(
    descriptor: int,
    open_file: Callable[[io.BytesIO], SeekableFile],
    pages: PageRange,
    block_samples: int,
) -> _Blocks | None:
    """Decode a stretch; None if it has fewer samples, or anything else is irregular."""
    content = os.pread(descriptor, pages.header_bytes, 0) + os.pread(
        descriptor, pages.stop - pages.start, pages.start
    )
    try:
        with contextlib.closing(open_file(io.BytesIO(content))) as file:
            skipped = file.read_block(pages.skip)
            borders = range(0, pages.count, block_samples)
            blocks = [file.read_block(min(block_samples, pages.count - at)) for at in borders]
    except IRREGULARITIES:
        return None
    is_whole = len(skipped) == pages.skip and sum(map(len, blocks)) == pages.count
    return blocks if is_whole else None
