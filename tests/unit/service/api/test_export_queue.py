"""Exports run in few threads of their own; a bounded number waits."""

import asyncio
import threading

import pytest

from service.api.export_queue import SMALL_DOCUMENT_BYTES, ExportQueue
from service.errors import OverloadedError
from tests.waiting import until

LARGE = SMALL_DOCUMENT_BYTES + 1


class Exports:
    """Exports that end when the test says so."""

    def __init__(self):
        self.begun = []
        self.may_end = threading.Event()

    def export(self, number):
        self.begun.append(number)
        assert self.may_end.wait(60)
        return number


async def test_large_exports_run_one_by_one_and_more_than_four_waiting_are_refused():
    queue, exports = ExportQueue(), Exports()
    running = [
        asyncio.create_task(queue.run(lambda n=n: exports.export(n), document_bytes=LARGE))
        for n in range(5)
    ]
    await until(lambda: exports.begun)
    with pytest.raises(OverloadedError, match="4 exports of this size are waiting") as refused:
        await queue.run(lambda: None, document_bytes=LARGE)
    assert refused.value.retry_after_seconds > 0
    assert exports.begun == [0]
    exports.may_end.set()
    assert await asyncio.gather(*running) == [0, 1, 2, 3, 4]
    assert await queue.run(lambda: "room again", document_bytes=LARGE) == "room again"


async def test_a_small_export_does_not_wait_for_a_large_one():
    queue, exports = ExportQueue(), Exports()
    large = asyncio.create_task(queue.run(lambda: exports.export(0), document_bytes=LARGE))
    await until(lambda: exports.begun)
    assert await queue.run(lambda: "small", document_bytes=SMALL_DOCUMENT_BYTES) == "small"
    exports.may_end.set()
    await large


async def test_a_canceled_export_keeps_its_thread_until_it_ends():
    queue, exports = ExportQueue(), Exports()
    first, second = (
        asyncio.create_task(queue.run(lambda n=n: exports.export(n), document_bytes=LARGE))
        for n in range(2)
    )
    await until(lambda: exports.begun)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert exports.begun == [0]
    exports.may_end.set()
    assert await second == 1


def test_the_end_of_the_event_loop_waits_for_no_export():
    exports = Exports()

    async def leave_one_running():
        queue = ExportQueue()
        tasks = [
            asyncio.create_task(queue.run(lambda n=n: exports.export(n), document_bytes=LARGE))
            for n in range(2)
        ]
        await until(lambda: exports.begun)
        return tasks

    tasks = asyncio.run(leave_one_running())
    assert all(task.cancelled() for task in tasks)
    exports.may_end.set()
    assert exports.begun == [0]
