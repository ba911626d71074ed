"""A recording is read in small batches, gets its tokens in order, and is closed in any case."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from mt3_model.errors import DecoderKilledError
from mt3_model.notes.generated import GeneratedSegment
from service.recordings.segment_reader import SegmentReader
from service.recordings.work import ReadSegments
from tests.waiting import until


class SlowWork:
    """Opens only when the test allows it."""

    def __init__(self):
        self.entered, self.go = threading.Event(), threading.Event()
        self.closed = 0

    def open(self):
        self.entered.set()
        self.go.wait()

    def close(self):
        self.closed += 1


async def test_a_close_that_is_canceled_still_closes():
    work = SlowWork()
    reader = SegmentReader(None, batch_size=4, open_work=lambda _: work)

    async def read():
        try:
            await reader.open()
        finally:
            closing.set()
            await reader.close()

    closing = asyncio.Event()
    reading = asyncio.create_task(read())
    await until(work.entered.is_set)
    reading.cancel()
    await closing.wait()
    reading.cancel()  # as a cancel scope does at each further wait
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert work.closed == 0
    work.go.set()
    await until(lambda: work.closed == 1)


class CountedWork:
    """Reads a number of segments, and notes what it is asked for."""

    def __init__(self, segments):
        self.left = segments
        self.calls = []

    def read(self, count):
        found = min(count, self.left)
        self.left -= found
        self.calls.append(("read", count))
        return ReadSegments(segments=(None,) * found, seconds=0.0)

    def add(self, packed):
        self.calls.append(("add", packed.tokens.tolist()))

    def conclude(self, generation):
        self.calls.append(("conclude", generation))

    def close(self):
        self.calls.append(("close",))


def tokens_of(number):
    return GeneratedSegment(
        tokens=np.array([number], np.int32), log_probabilities=np.zeros(1, np.float32)
    )


async def read_all(reader):
    batches = []
    while True:
        reader.read_ahead()
        batches.append(len(await reader.next_batch()))
        if not batches[-1]:
            return batches


async def test_batches_grow_from_a_small_one():
    work = CountedWork(60)
    reader = SegmentReader(None, batch_size=16, open_work=lambda _: work)
    assert await read_all(reader) == [8, 16, 16, 16, 4, 0]
    await reader.close()


async def test_tokens_are_added_in_order_once_all_segments_are_read():
    work = CountedWork(20)
    reader = SegmentReader(None, batch_size=64, open_work=lambda _: work)
    for number in range(10):  # while segments are read, nothing else is done
        reader.add(tokens_of(number))
    await read_all(reader)
    for number in range(10, 20):
        reader.add(tokens_of(number))
    await reader.conclude("generation")
    await reader.close()
    reads = [call for call in work.calls if call[0] == "read"]
    assert work.calls[: len(reads)] == reads
    added = [call[1] for call in work.calls if call[0] == "add"]
    assert added == [[*range(11)], [*range(11, 19)], [19]]
    assert work.calls[-2:] == [("conclude", "generation"), ("close",)]


async def test_an_error_of_adding_is_raised_by_what_follows():
    class Dying(CountedWork):
        def add(self, _packed):
            raise DecoderKilledError("the process ended")

    reader = SegmentReader(None, batch_size=64, open_work=lambda _: Dying(0))
    reader.add(tokens_of(1))
    with pytest.raises(DecoderKilledError):
        await reader.conclude("generation")
    await reader.close()
