"""Send webhooks until killed: ``python -m tests.faults.webhook_program URL FOLDER``."""

import asyncio
import sys

from service.jobs.documents import describe_job
from service.jobs.running.job_queue import JobQueue
from service.jobs.store.job_database import open_job_database
from service.jobs.store.job_queries import load_job
from service.webhooks.sender import WebhookOptions, WebhookSender
from tests.unit.service.jobs.jobs_at_hand import open_in

LEASE_SECONDS = 3.0
OPTIONS = WebhookOptions(
    delays_seconds=(0.2,), timeout_seconds=2.0, lease_seconds=LEASE_SECONDS, polling_seconds=0.05,
    at_once=6, at_once_of_one_host=6,
)  # fmt: skip


def describe(connection, job_id):
    return describe_job(load_job(connection, job_id))


async def main(url, folder):
    sender = WebhookSender(
        describe,
        allow_private=True, options=OPTIONS,
    )  # fmt: skip
    queue = JobQueue(open_job_database(url), open_in(folder), webhooks=sender)
    await queue.start(None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
