"""Segments of one recording -> tokens, in order, with every slot kept busy.

A plain loop over a backend for scripts, evaluation and the command line. The service's engine does
the same for many recordings at once.
"""

import heapq
from collections.abc import Iterable, Iterator

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import ForbiddenTokens, GeneratedSegment, SlotEntry
from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment


def generate(
    backend: Backend,
    segments: Iterable[Segment],
    decoding: Decoding,
    forbidden: ForbiddenTokens | None = None,
) -> Iterator[tuple[Segment, GeneratedSegment]]:
    """Generate the tokens of a recording.

    Args:
        backend: The backend, with all slots free; they are free again when the iterator ends or is
            closed.
        segments: The segments in order; read one encode batch ahead, never all at once.
        decoding: The rule that selects tokens.
        forbidden: Tokens that the recording must not have.

    Yields:
        Each segment with its tokens, in order, as soon as all before it are generated.
    """
    incoming = iter(segments)
    free = list(range(backend.slots))  # a heap: low slots first, so that few groups are busy
    running: dict[int, Segment] = {}
    done: dict[int, tuple[Segment, GeneratedSegment]] = {}
    waiting: list[Segment] = []
    following = 0
    try:
        while True:
            _read(incoming, waiting, backend.encode_batch)
            # An encode costs the same for one segment as for a batch, so wait for room for all. One
            # encode for each step, so that the occupied slots continue in the meantime.
            if waiting and len(free) >= len(waiting):
                entries = [
                    SlotEntry(
                        slot=heapq.heappop(free),
                        segment=segment,
                        decoding=decoding,
                        forbidden=forbidden,
                    )
                    for segment in waiting
                ]
                backend.insert(entries)
                running |= {entry.slot: entry.segment for entry in entries}
                waiting.clear()
            if not running:
                return
            for finished in backend.step():
                segment = running.pop(finished.slot)
                heapq.heappush(free, finished.slot)
                done[segment.index] = segment, finished.generated
            while following in done:
                yield done.pop(following)
                following += 1
    finally:
        backend.release(running)


def _read(incoming: Iterator[Segment], waiting: list[Segment], size: int) -> None:
    """Append segments to ``waiting`` up to ``size``, while there are any."""
    while len(waiting) < size and (segment := next(incoming, None)) is not None:
        waiting.append(segment)
