"""A recording is closed whatever happens to the task that reads it."""

import asyncio
import contextlib
import threading

from service.recordings.segment_reader import SegmentReader
from tests.integration.serving import until


class SlowWork:
    """Opens only when it is let."""

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
