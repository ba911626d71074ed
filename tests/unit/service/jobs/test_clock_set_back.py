"""After the clock was set back by days, pauses of seconds or minutes do not last for days."""

import dataclasses

import pytest

from service.errors import StorageUnavailableError
from tests.unit.service.jobs.http_at_hand import reply, server
from tests.unit.service.jobs.jobs_at_hand import (
    QUICK,
    change,
    finished,
    job_with_uploads,
    open_in,
    queue_in,
)
from tests.unit.service.jobs.queue_files import transcribe
from tests.unit.service.webhooks.webhook_queues import end, sender, wait_for_delivery
from tests.unit.service.webhooks.webhook_queues import new_job as job_with_webhook
from tests.unit.service.webhooks.webhook_queues import queue_in as webhook_queue_in
from tests.waiting import until

pytestmark = pytest.mark.slow


__all__ = ["server"]


async def test_an_item_that_waits_for_a_time_before_the_clock_was_set_back_is_due(tmp_path):
    tries = []

    async def fail_once(*arguments):
        tries.append(1)
        if len(tries) == 1:
            raise StorageUnavailableError("for a moment")
        return await transcribe(*arguments)

    worker = dataclasses.replace(QUICK, retry_delays_seconds=(300.0,))
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, fail_once, worker=worker) as queue:
        new = await job_with_uploads(objects, 1)
        await queue.submit(new)

        async def waits():
            return (await queue.backlog()).queued_items == 1 and tries

        await until(waits)
        assert (await queue.sweep()).mended == 0, "five minutes are a pause like any other"
        # The time as recorded before the clock was set back by two days, here and in DBOS.
        change(
            tmp_path,
            "update mt3_item set ready_at = ready_at + 172800",
            "update workflow_status set delay_until_epoch_ms = delay_until_epoch_ms + 172800000",
        )
        assert (await queue.sweep()).mended == 1
        assert (await finished(queue, new)).progress.items_succeeded == 1
        assert (await queue.sweep()).mended == 0


async def test_a_delivery_noted_before_the_clock_was_set_back_is_due(server, tmp_path):
    async with server.running():
        server.answers["/hook"] = reply(200)
        new = await job_with_webhook(tmp_path, f"{server.url}/hook")
        async with webhook_queue_in(tmp_path, None) as queue:
            await end(queue, new)
        change(tmp_path, "update mt3_webhook set next_at = next_at + 172800")
        async with webhook_queue_in(tmp_path, sender()) as queue:
            assert (await wait_for_delivery(queue, new)).is_delivered
