"""Reads an admitted recording, submits its segments to the engine and awaits their tokens.

    read and submit segments       ahead of the device, within a bound
    await each segment's tokens    in the order of the segments, whatever order they end in

Closing the generator ends reading and submitting; leaving the admission removes the segments from
the engine.
"""

import asyncio
import collections
import dataclasses
from collections.abc import AsyncGenerator

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.spectrogram.segments import Segment
from service.engine.admission import Admission
from service.engine.engine import Engine
from service.recordings.segment_reader import SegmentReader
from service.recordings.work import without_samples


@dataclasses.dataclass(kw_only=True, slots=True)
class SubmittedSegment:
    """A segment in the engine, or generated and waiting for the segments before it."""

    segment: Segment
    """Without samples, which decoding does not need: an early segment may end late."""
    tokens: asyncio.Future[GeneratedSegment]
    next_start_time: float | None = None
    """Start time of the next segment of its pass; None for the last."""


async def generate_segments(
    engine: Engine, reader: SegmentReader, admission: Admission, *, passes: int
) -> AsyncGenerator[tuple[SubmittedSegment, GeneratedSegment]]:
    """Yield the recording's segments in order, each with its tokens.

    Args:
        engine: the engine that admitted the recording.
        reader: the open recording.
        admission: the recording's admission.
        passes: passes over the recording. They take turns, so the next segment of a pass comes
            ``passes`` segments later.

    Raises:
        AudioError: reading failed.
        EngineError: the device failed.
    """
    submitted: asyncio.Queue[SubmittedSegment | None] = asyncio.Queue()
    submitting = asyncio.create_task(_submit_all(engine, reader, admission, submitted))
    submitting.add_done_callback(lambda _: submitted.put_nowait(None))
    window: collections.deque[SubmittedSegment] = collections.deque()
    is_read = False
    try:
        while True:
            # The following batch is submitted before this one's last segment is awaited, so that
            # waiting for it here delays nothing.
            while not is_read and len(window) <= passes:
                following = await submitted.get()
                if following is None:
                    is_read = True
                    await submitting  # raises what reading raised
                else:
                    window.append(following)
            if not window:
                return
            item = window.popleft()
            if len(window) >= passes:
                item.next_start_time = window[passes - 1].segment.start_time
            yield item, await item.tokens
    finally:
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)


async def _submit_all(
    engine: Engine,
    reader: SegmentReader,
    admission: Admission,
    submitted: asyncio.Queue[SubmittedSegment | None],
) -> None:
    """Read and submit all segments, at most ``segments_ahead`` ahead of the device."""
    room = asyncio.Semaphore(engine.segments_ahead)
    reader.read_ahead()
    while batch := await reader.next_batch():
        reader.read_ahead()
        for _ in batch:
            await room.acquire()
        for segment, tokens in zip(batch, engine.submit(batch, admission), strict=True):
            tokens.add_done_callback(lambda _: room.release())
            submitted.put_nowait(SubmittedSegment(segment=without_samples(segment), tokens=tokens))
