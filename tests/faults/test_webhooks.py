"""Processes that are killed while they send webhooks: every end is delivered, under one id."""

import asyncio
import collections
import contextlib
import json
import sqlite3
import subprocess
import sys
import time

import pytest

from service.jobs.running.job_queue import JobQueue
from service.jobs.store.job_database import open_job_database
from service.webhooks.webhook import NewWebhook
from tests.repository.tracked_files import ROOT
from tests.unit.service.jobs.http_at_hand import reply, server
from tests.unit.service.jobs.jobs_at_hand import new_job, open_in
from tests.waiting import until

__all__ = ["server"]


class Senders:
    """Sender processes, which are killed at the end."""

    def __init__(self, url, folder, count):
        self._command = [sys.executable, "-m", "tests.faults.webhook_program", url, str(folder)]
        self._log = (folder / "senders.err").open("ab")
        self._running = [self._start() for _ in range(count)]

    def _start(self):
        return subprocess.Popen(self._command, cwd=ROOT, stdout=self._log, stderr=self._log)

    def kill(self, number):
        self._running[number].kill()
        self._running[number].wait()

    def replace(self, number):
        self.kill(number)
        self._running[number] = self._start()

    def close(self):
        for number in range(len(self._running)):
            self.kill(number)
        self._log.close()


@contextlib.asynccontextmanager
async def reading(url, folder):
    """A queue that neither runs items nor sends webhooks."""
    queue = JobQueue(open_job_database(url), open_in(folder))
    await queue.start(None)
    try:
        yield queue
    finally:
        await queue.close(grace_seconds=1.0)


async def end_jobs(queue, count, hook):
    made = [
        new_job(webhook=NewWebhook(url=hook, secret="a secret of sixteen")) for _ in range(count)
    ]
    for new in made:
        await queue.submit(new)
        await queue.cancel("anna", new.job_id)
    return made


async def delivered(queue, jobs):
    found = [(await queue.get("anna", new.job_id)).webhook.last_delivery for new in jobs]
    return sum(delivery is not None and delivery.is_delivered for delivery in found)


async def test_a_killed_process_is_followed_by_another_that_tells_the_same(server, tmp_path, show):
    """Run one process at a time, on SQLite."""
    url = f"sqlite:///{tmp_path}/jobs.sqlite"

    async def silent(writer, headers, body):
        await asyncio.Event().wait()  # never answers

    async with server.running():
        async with reading(url, tmp_path) as queue:
            jobs = await end_jobs(queue, 3, f"{server.url}/hook")
        server.answers["/hook"] = silent
        senders = Senders(url, tmp_path, 1)
        try:
            await until(lambda: len(sent(server.requests)) == 3)
            senders.kill(0)
            by_first = list(server.requests)
            server.answers["/hook"] = reply(200)
            senders.replace(0)
            began = time.monotonic()
            await until(lambda: noted(tmp_path) == 3)
        finally:
            senders.close()
        async with reading(url, tmp_path) as queue:
            assert await delivered(queue, jobs) == 3
    by_second = server.requests[len(by_first) :]
    assert sent(by_second) == sent(by_first), "the same bodies under the same ids"
    assert len({identity for identity, _ in sent(by_first)}) == 3
    show(f"killed in mid-try: sent again by the next process {time.monotonic() - began:.1f} s on")


def sent(requests):
    """Return the distinct pairs of delivery id and body that the receiver got."""
    return {(headers["mt3-delivery"], body) for _, headers, body in requests}


def noted(folder):
    """Return the number of events that another process has recorded as delivered."""
    with contextlib.closing(
        sqlite3.connect(f"file:{folder}/jobs.sqlite?mode=ro", uri=True)
    ) as database:
        return database.execute("select count(*) from mt3_webhook where is_delivered").fetchone()[0]


@pytest.mark.postgres
async def test_three_processes_killed_in_turn_lose_nothing(server, tmp_path, postgres_url, show):
    count, kills = 60, 8

    async def slow(writer, headers, body):
        await asyncio.sleep(0.2)
        return reply(200)

    async with server.running(), reading(postgres_url, tmp_path) as queue:
        server.answers["/hook"] = slow
        jobs = await end_jobs(queue, count, f"{server.url}/hook")
        senders = Senders(postgres_url, tmp_path, 3)
        try:
            for number in range(kills):
                before = len(server.requests)
                await until(
                    lambda before=before: (
                        len(server.requests) > before + 2 or len(sent(server.requests)) == count
                    ),
                )
                senders.replace(number % 3)
            deadline = time.monotonic() + 400
            while await delivered(queue, jobs) < count:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            # Another delivery shows that the senders still run and have checked the others again.
            jobs += await end_jobs(queue, 1, f"{server.url}/hook")
            while await delivered(queue, jobs) < count + 1:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
        finally:
            senders.close()
        assert await delivered(queue, jobs) == count + 1
    ids, received = {}, collections.Counter()
    for _, headers, body in server.requests:
        job_id = json.loads(body)["job"]["id"]
        received[job_id] += 1
        assert ids.setdefault(job_id, (headers["mt3-delivery"], body)) == (
            headers["mt3-delivery"],
            body,
        )
    assert set(received) == {new.job_id for new in jobs}
    twice = sum(times > 1 for times in received.values())
    show(f"{count} ends, {kills} kills of three senders: 0 lost, {twice} begun more than once")
    assert twice <= kills * 6
