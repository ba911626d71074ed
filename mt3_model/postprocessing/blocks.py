"""Independent blocks of one recording, computed by a few threads.

NumPy's transforms and products run without the interpreter's lock, so on idle cores several blocks
take hardly longer than one; on busy cores the threads cost nothing.
"""

import concurrent.futures
from collections.abc import Callable, Iterable
from typing import TypeVar

from mt3_model.cores import usable_cores

BlockT = TypeVar("BlockT")
ResultT = TypeVar("ResultT")

_THREADS = 8
"""Maximum number of blocks computed at once: each holds arrays of some MiB."""
_threads = concurrent.futures.ThreadPoolExecutor(
    min(_THREADS, usable_cores()), thread_name_prefix="blocks"
)


def map_blocks(compute: Callable[[BlockT], ResultT], blocks: Iterable[BlockT]) -> list[ResultT]:
    """Return ``compute``'s results in the order of the blocks.

    Args:
        compute: computes one block; must not call `map_blocks` itself.
        blocks: the blocks.
    """
    return [*_threads.map(compute, blocks)]
