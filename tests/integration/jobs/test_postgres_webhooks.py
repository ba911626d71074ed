"""Webhooks on Postgres: sent once by any process, shown in the job, deleted with it."""

import asyncio
import json

import psycopg
import pytest

from tests.unit.service.jobs.http_at_hand import reply, server
from tests.unit.service.webhooks.webhook_queues import (
    new_job,
    queue_in,
    sender,
    verify,
    wait_for_delivery,
)

__all__ = ["server"]
pytestmark = pytest.mark.postgres


async def test_an_end_is_told_by_one_of_several_and_removed_with_its_job(
    server, tmp_path, postgres_url
):
    answers = [reply(500)] + [reply(200)] * 100

    async def answer(writer, headers, body):
        return answers.pop(0)

    others = [sender() for _ in range(3)]
    async with (
        server.running(),
        queue_in(tmp_path, sender(), url=postgres_url, works=True) as queue,
    ):
        server.answers["/hook"] = answer
        for other in others:
            other.start(queue._database)
        jobs = [await new_job(tmp_path, f"{server.url}/hook") for _ in range(20)]
        await asyncio.gather(*(queue.submit(new) for new in jobs))
        deliveries = [await wait_for_delivery(queue, new) for new in jobs]
        assert sorted(delivery.attempt for delivery in deliveries) == [1] * 19 + [2]
        for other in others:
            await other.close(grace_seconds=1.0)
        assert len(server.requests) == 21
        assert all(verify(headers, body) for _, headers, body in server.requests)
        told_of = {json.loads(body)["job"]["id"] for _, _, body in server.requests}
        assert told_of == {new.job_id for new in jobs}
        for new in jobs:
            await queue.delete("anna", new.job_id)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select count(*) from mt3_webhook").fetchone() == (0,)
