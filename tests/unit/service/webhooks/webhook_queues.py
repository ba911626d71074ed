"""Queues with webhooks, and waits for their deliveries, shared by the tests of webhooks."""

import asyncio
import contextlib
import hashlib
import hmac
import time

from mt3_model.errors import AudioFormatError
from service.item_processing import ItemProcessor
from service.jobs.documents import describe_job
from service.jobs.running.job_queue import JobQueue
from service.jobs.store.job_database import open_job_database
from service.jobs.store.job_queries import load_job
from service.webhooks.sender import WebhookOptions, WebhookSender
from service.webhooks.webhook import NewWebhook
from tests.unit.service.jobs.http_at_hand import (
    reply,
)
from tests.unit.service.jobs.jobs_at_hand import (
    QUICK,
    job_with_uploads,
    open_in,
    written,
)
from tests.waiting import until

SECRET = "a secret of sixteen"
OPTIONS = WebhookOptions(
    most_tries=4, delays_seconds=(0.02, 0.04), timeout_seconds=10.0, lease_seconds=60.0,
    polling_seconds=0.02,
)  # fmt: skip


async def transcribe(path, options, caller, on_length):
    content = path.read_bytes()
    if content == b"noise":
        raise AudioFormatError("this is not audio")
    if content == b"for ever":
        await asyncio.Event().wait()
    return written(options=options)


def describe(connection, job_id):
    return describe_job(load_job(connection, job_id))


def sender(**rest):
    return WebhookSender(describe, **{"options": OPTIONS, "allow_private": True} | rest)


@contextlib.asynccontextmanager
async def queue_in(folder, webhooks, *, url=None, clock=time.time, works=False, grace_seconds=5.0):
    objects = open_in(folder)
    queue = JobQueue(
        open_job_database(url or f"sqlite:///{folder}/jobs.sqlite"), objects,
        worker=QUICK, webhooks=webhooks, clock=clock,
    )  # fmt: skip
    await queue.start(ItemProcessor(objects, transcribe).process if works else None)
    try:
        yield queue
    finally:
        await queue.close(grace_seconds=grace_seconds)


async def end(queue, new):
    """Cancel a job, which ends it without a worker; another end takes seconds."""
    await queue.submit(new)
    await queue.cancel(new.tenant, new.job_id)


async def new_job(folder, url, *, secret=SECRET, content=b"sound", count=1, **rest):
    webhook = NewWebhook(url=url, secret=secret)
    return await job_with_uploads(open_in(folder), count, content=content, webhook=webhook, **rest)


async def wait_for_delivery(queue, new, condition=lambda delivery: delivery.is_delivered):
    """Return the job's last delivery once it fulfills a condition."""

    async def find():
        delivery = (await queue.get(new.tenant, new.job_id)).webhook.last_delivery
        return delivery if delivery is not None and condition(delivery) else None

    return await until(find, "the delivery")


async def after_another_delivery(queue, server, folder):
    """Return when two later deliveries are done: whatever was due before them has been tried.

    The sender reads what is due in order of time, so nothing is left behind that the first of
    these polls has seen.
    """
    server.answers["/later"] = reply(200)
    new = await new_job(folder, f"{server.url}/later")
    await end(queue, new)
    await wait_for_delivery(queue, new)


def of_hook(server):
    """Return the requests of the webhook under test."""
    return [request for request in server.requests if request[0].startswith("/hook")]


def verify(headers, body, secret=SECRET):
    """Verify the signature as the README describes it, without code of ours."""
    parts = dict(part.split("=") for part in headers["mt3-signature"].split(","))
    assert abs(time.time() - int(parts["t"])) < 60
    expected = hmac.new(secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256)
    return hmac.compare_digest(expected.hexdigest(), parts["v1"])
