"""Webhooks to a local receiver: signed, repeated until accepted, one at a time."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import time
import uuid

import pytest

from mt3_model.errors import OptionError
from service.jobs.job import JobState, input_key
from service.schemas.webhook_payload import WebhookPayload
from service.webhooks import outbox
from service.webhooks.sender import WebhookOptions, WebhookSender, is_final, sign
from service.webhooks.webhook import Delivery, NewWebhook
from tests.repository.tracked_files import ROOT
from tests.unit.service.jobs.http_at_hand import (
    PUBLIC,
    Names,
    lead_to,
    redirect,
    reply,
    server,
)
from tests.unit.service.jobs.jobs_at_hand import (
    change,
    finished,
    open_in,
)
from tests.unit.service.webhooks.webhook_queues import (
    OPTIONS,
    SECRET,
    after_another_delivery,
    describe,
    end,
    new_job,
    of_hook,
    queue_in,
    sender,
    verify,
    wait_for_delivery,
)
from tests.waiting import until

__all__ = ["server"]
pytestmark = pytest.mark.slow


async def test_the_end_of_a_job_is_told_once_and_signed(server, tmp_path):
    outcomes = []
    async with (
        server.running(),
        queue_in(tmp_path, sender(on_try=outcomes.append), works=True) as queue,
    ):
        server.answers["/hook"] = reply(204)
        new = await new_job(tmp_path, f"{server.url}/hook?x=1", metadata={"title": "Für Elise"})
        submitted = await queue.submit(new)
        assert submitted.job.webhook.url == f"{server.url}/hook?x=1"
        assert submitted.job.webhook.last_delivery is None
        delivery = await wait_for_delivery(queue, new)
        assert (delivery.attempt, delivery.status, delivery.error) == (1, 204, None)
        assert abs(delivery.at - time.time()) < 60
        await after_another_delivery(queue, server, tmp_path)
        assert (await queue.get("anna", new.job_id)).webhook.last_delivery == delivery
    ((path, headers, body),) = of_hook(server)
    assert path == "/hook?x=1"
    assert verify(headers, body)
    assert not verify(headers, body + b" ")
    assert not verify(headers, body, "another secret..")
    assert uuid.UUID(headers["mt3-delivery"])
    assert headers["content-type"] == "application/json"
    payload = WebhookPayload.model_validate_json(body)
    job = payload.job
    assert (payload.event, payload.created_at[-1]) == ("job.succeeded", "Z")
    assert (job.id, job.status, job.metadata) == (new.job_id, "succeeded", {"title": "Für Elise"})
    assert outcomes == ["delivered"] * 2


async def test_failed_and_canceled_jobs_are_told_too(server, tmp_path):
    async with server.running(), queue_in(tmp_path, sender(), works=True) as queue:
        server.answers["/hook"] = reply(200)
        bad = await new_job(tmp_path, f"{server.url}/hook", content=b"noise")
        await queue.submit(bad)
        await wait_for_delivery(queue, bad)
        endless = await new_job(tmp_path, f"{server.url}/hook", content=b"for ever")
        await queue.submit(endless)
        await queue.cancel("anna", endless.job_id)
        await wait_for_delivery(queue, endless)
        await queue.cancel("anna", endless.job_id)
        await after_another_delivery(queue, server, tmp_path)
    events = [json.loads(body)["event"] for _, _, body in of_hook(server)]
    assert events == ["job.failed", "job.canceled"]


async def test_a_receiver_that_fails_is_told_again_the_same_until_it_takes_it(server, tmp_path):
    answers = [reply(500), redirect("/elsewhere"), reply(429), reply(200)]

    async def answer(writer, headers, body):
        return answers.pop(0)

    outcomes = []
    async with server.running(), queue_in(tmp_path, sender(on_try=outcomes.append)) as queue:
        server.answers["/hook"] = answer
        new = await new_job(tmp_path, f"{server.url}/hook")
        await end(queue, new)
        delivery = await wait_for_delivery(queue, new)
        assert (delivery.attempt, delivery.status) == (4, 200)
    assert [path for path, _, _ in server.requests] == ["/hook"] * 4, "no redirect was followed"
    assert len({headers["mt3-delivery"] for _, headers, _ in server.requests}) == 1
    assert len({body for _, _, body in server.requests}) == 1
    assert all(verify(headers, body) for _, headers, body in server.requests)
    assert outcomes == ["tried", "tried", "tried", "delivered"]


async def test_after_the_last_try_it_is_given_up(server, tmp_path):
    outcomes = []
    async with server.running(), queue_in(tmp_path, sender(on_try=outcomes.append)) as queue:
        server.answers["/hook"] = reply(503)
        new = await new_job(tmp_path, f"{server.url}/hook")
        await end(queue, new)
        delivery = await wait_for_delivery(queue, new, lambda d: d.attempt == 4)
        await after_another_delivery(queue, server, tmp_path)
        assert not delivery.is_delivered
        assert delivery.error == "the receiver answered 503"
    assert len(of_hook(server)) == 4
    assert outcomes == ["tried"] * 3 + ["given_up", "delivered"]
    assert WebhookOptions().most_tries == 10
    assert WebhookOptions().timeout_seconds == 10
    assert len(WebhookOptions().delays_seconds) == 9
    assert sum(WebhookOptions().delays_seconds) < 24 * 3_600


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
async def test_a_receiver_that_does_not_want_it_is_not_told_again(server, tmp_path, status):
    async with server.running(), queue_in(tmp_path, sender()) as queue:
        server.answers["/hook"] = reply(status)
        new = await new_job(tmp_path, f"{server.url}/hook")
        await end(queue, new)
        delivery = await wait_for_delivery(queue, new, lambda d: d.status == status)
        await after_another_delivery(queue, server, tmp_path)
        assert (delivery.attempt, delivery.is_delivered) == (1, False)
    assert len(of_hook(server)) == 1
    assert [s for s in range(100, 600) if is_final(s)] == [
        s for s in range(400, 500) if s not in {408, 425, 429}
    ]


async def test_a_silent_receiver_costs_its_time_and_no_more(server, tmp_path):
    async def silent(writer, headers, body):
        await asyncio.Event().wait()  # never answers

    options = dataclasses.replace(OPTIONS, timeout_seconds=0.5)
    async with server.running(), queue_in(tmp_path, sender(options=options)) as queue:
        server.answers["/silent"] = silent
        new = await new_job(tmp_path, f"{server.url}/silent")
        await end(queue, new)
        last = await wait_for_delivery(queue, new, lambda d: d.attempt == 4)
        assert (last.status, last.error) == (None, "no answer within 0.5 s")


async def test_slow_and_absent_receivers_cost_their_time_and_no_more(server, tmp_path):
    async def talkative(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"3e8\r\n" + b"x" * 1_000 + b"\r\n")
                await writer.drain()

    async def stuck(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await writer.drain()
        await asyncio.Event().wait()  # never answers

    async with server.running(), queue_in(tmp_path, sender()) as queue:
        server.answers |= {"/talkative": talkative, "/stuck": stuck}
        jobs = {}
        for name in ("talkative", "stuck"):
            jobs[name] = await new_job(tmp_path, f"{server.url}/{name}")
            await end(queue, jobs[name])
        jobs["absent"] = await new_job(tmp_path, "http://127.0.0.1:1/hook")
        await end(queue, jobs["absent"])
        for name in ("talkative", "stuck"):
            assert (await wait_for_delivery(queue, jobs[name])).attempt == 1
        last = await wait_for_delivery(queue, jobs["absent"], lambda d: d.attempt == 4)
        assert (last.status, last.error) == (None, "the receiver cannot be reached")


async def test_receivers_in_inner_networks_are_not_reached(server, tmp_path, monkeypatch):
    names = Names(inner_example=[["10.0.0.7"]], media_example=[[PUBLIC]])
    webhooks = sender(allow_private=False, resolver=names)
    async with server.running():
        network = lead_to(server, monkeypatch)
        server.answers["/hook"] = reply(200)
        async with queue_in(tmp_path, webhooks) as queue:
            good = await new_job(tmp_path, "http://media.example/hook")
            await end(queue, good)
            assert (await wait_for_delivery(queue, good)).status == 200
            for url in ("http://inner.example/hook", f"{server.url}/hook", "http://none.example/"):
                new = await new_job(tmp_path, url)
                await end(queue, new)
                delivery = await wait_for_delivery(queue, new, lambda d: d.attempt == 4)
                assert "unknown, or not allowed" in delivery.error
                assert "10.0.0.7" not in delivery.error
    assert network.connected == [(PUBLIC, 80)]


async def test_a_try_that_died_is_made_again_by_another_process_with_the_same_id(server, tmp_path):
    """Interrupt the first process between the claim and the record; a second one continues."""
    shift = [0.0]

    async def silent(writer, headers, body):
        await asyncio.Event().wait()  # never answers

    slow = WebhookOptions(timeout_seconds=30.0, lease_seconds=60.0, polling_seconds=0.02)
    async with server.running():
        server.answers["/hook"] = silent
        new = await new_job(tmp_path, f"{server.url}/hook")
        async with queue_in(tmp_path, sender(options=slow), grace_seconds=0.1) as queue:
            await end(queue, new)
            await until(lambda: server.requests)
        server.answers["/hook"] = reply(200)

        def clock():
            return time.time() + shift[0]

        async with queue_in(tmp_path, sender(options=slow, clock=clock)) as queue:
            await after_another_delivery(queue, server, tmp_path)
            assert len(of_hook(server)) == 1, "no other attempt while the lease lasts"
            shift[0] = 61.0
            assert (await wait_for_delivery(queue, new)).attempt == 2
    first, second = of_hook(server)
    assert first[1]["mt3-delivery"] == second[1]["mt3-delivery"]
    assert first[2] == second[2]


async def test_a_sender_that_was_thought_dead_changes_nothing(tmp_path):
    async with queue_in(tmp_path, None) as queue:
        new = await new_job(tmp_path, "https://host.example/hook")
        await end(queue, new)
        now = time.time() + 1.0

        def claim(at):
            return queue._database.run(
                lambda c: outbox.claim(c, new.job_id, now=at, lease_seconds=60.0, most_tries=4)
            )

        def note(claimed, *, is_delivered, next_at=None):
            delivery = Delivery(
                at=now, attempt=claimed.attempt, status=None, error=None, is_delivered=is_delivered
            )
            return queue._database.run(lambda c: outbox.note(c, claimed, delivery, next_at))

        frozen = await claim(now)
        assert await claim(now + 59.0) is None
        second = await claim(now + 61.0)
        assert (frozen.attempt, second.attempt) == (1, 2)
        assert frozen.delivery_id == second.delivery_id
        assert not await note(frozen, is_delivered=False, next_at=now)
        assert await note(second, is_delivered=True)
        assert (await wait_for_delivery(queue, new)).attempt == 2
        assert await claim(now + 1e6) is None, "it is delivered"


async def test_a_last_try_that_died_is_given_up_with_a_word(server, tmp_path):
    async with server.running():
        server.answers["/hook"] = reply(200)
        new = await new_job(tmp_path, f"{server.url}/hook")
        async with queue_in(tmp_path, None) as queue:
            await end(queue, new)
        change(tmp_path, "update mt3_webhook set attempts = 4, next_at = 1")
        async with queue_in(tmp_path, sender()) as queue:
            delivery = await wait_for_delivery(queue, new, lambda d: d.attempt == 4)
            assert delivery.error == "the process that attempted the delivery ended"
    assert not server.requests


async def test_an_end_is_never_without_its_event_though_nobody_tells_it_yet(server, tmp_path):
    async with server.running():
        server.answers["/hook"] = reply(200)
        new = await new_job(tmp_path, f"{server.url}/hook")
        async with queue_in(tmp_path, None, works=True) as queue:  # a process that sends nothing
            await queue.submit(new)
            job = await finished(queue, new)
            assert job.webhook.last_delivery is None
        async with queue_in(tmp_path, sender()) as queue:
            assert (await wait_for_delivery(queue, new)).status == 200


async def test_a_retried_job_takes_back_what_is_not_told_and_tells_its_next_end(server, tmp_path):
    objects = open_in(tmp_path)
    slow = WebhookOptions(delays_seconds=(60,), polling_seconds=0.02)
    async with server.running(), queue_in(tmp_path, sender(options=slow), works=True) as queue:
        server.answers["/hook"] = reply(500)
        new = await new_job(tmp_path, f"{server.url}/hook", content=b"noise")
        await queue.submit(new)
        await wait_for_delivery(queue, new, lambda d: d.status == 500)
        server.answers["/hook"] = reply(200)
        await objects.put(input_key(new.job_id, 0), b"sound")
        await queue.retry("anna", new.job_id)
        await wait_for_delivery(queue, new)
        job = await queue.get("anna", new.job_id)
        assert job.state is JobState.SUCCEEDED
        assert job.webhook.last_delivery.attempt == 1
    ids = [headers["mt3-delivery"] for _, headers, _ in server.requests]
    events = [json.loads(body)["event"] for _, _, body in server.requests]
    assert events == ["job.failed", "job.succeeded"]
    assert ids[0] != ids[1], "another event"


async def test_a_deleted_job_is_told_of_no_more_and_leaves_no_secret(server, tmp_path):
    slow = WebhookOptions(delays_seconds=(30.0,), polling_seconds=0.02)
    shift = [0.0]
    webhooks = sender(options=slow, clock=lambda: time.time() + shift[0])
    async with server.running(), queue_in(tmp_path, webhooks, works=True) as queue:
        server.answers["/hook"] = reply(500)
        ended = await new_job(tmp_path, f"{server.url}/hook")
        running = await new_job(tmp_path, f"{server.url}/hook", content=b"for ever")
        await queue.submit(ended)
        await wait_for_delivery(queue, ended, lambda d: d.status == 500)
        await queue.submit(running)
        while not (await queue.get("anna", running.job_id)).progress.items_processing:  # noqa: ASYNC110 (the queue's)
            await asyncio.sleep(0.02)
        for new in (ended, running):
            await queue.delete("anna", new.job_id)
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
            assert database.execute("select count(*) from mt3_webhook").fetchone() == (0,)
        before = len(of_hook(server))
        shift[0] = 61.0  # the next attempt would be due
        await after_another_delivery(queue, server, tmp_path)
        assert len(of_hook(server)) == before


async def test_of_many_senders_one_makes_each_try(server, tmp_path):
    """Two senders in one process stand for two processes: they share only the database."""
    others = [sender() for _ in range(3)]
    async with server.running(), queue_in(tmp_path, sender()) as queue:
        server.answers["/hook"] = reply(200)
        for other in others:
            other.start(queue._database)
        jobs = [await new_job(tmp_path, f"{server.url}/hook") for _ in range(25)]
        await asyncio.gather(*(end(queue, new) for new in jobs))
        for new in jobs:
            assert (await wait_for_delivery(queue, new)).attempt == 1
        for other in others:
            await other.close(grace_seconds=1.0)
    told_of = [json.loads(body)["job"]["id"] for _, _, body in server.requests]
    assert sorted(told_of) == sorted(new.job_id for new in jobs)


async def test_a_receiver_that_swallows_everything_keeps_no_other_waiting(server, tmp_path):
    async def silent(writer, headers, body):
        await asyncio.Event().wait()  # never answers

    options = WebhookOptions(
        at_once=4, at_once_of_one_host=2, timeout_seconds=300.0, lease_seconds=600.0,
        polling_seconds=0.02,
    )  # fmt: skip
    names = Names(slow_example=[["127.0.0.1"]], quick_example=[["127.0.0.1"]])
    async with (
        server.running(),
        queue_in(tmp_path, sender(options=options, resolver=names), grace_seconds=0.1) as queue,
    ):
        server.answers |= {"/slow": silent, "/quick": reply(200)}
        for _ in range(8):
            await end(queue, await new_job(tmp_path, f"http://slow.example:{server.port}/slow"))
        await until(lambda: len(server.requests) >= 2)
        new = await new_job(tmp_path, f"http://quick.example:{server.port}/quick")
        await end(queue, new)
        await wait_for_delivery(queue, new)
        assert [path for path, _, _ in server.requests].count("/slow") == 2


async def test_the_jobs_own_secret_is_used_or_else_the_deployments(server, tmp_path):
    async with (
        server.running(),
        queue_in(tmp_path, sender(secret="of the deployment")) as queue,
    ):
        server.answers["/hook"] = reply(200)
        own = await new_job(tmp_path, f"{server.url}/hook")
        general = await new_job(tmp_path, f"{server.url}/hook", secret=None)
        for new in (own, general):
            await end(queue, new)
            await wait_for_delivery(queue, new)
    assert verify(*server.requests[0][1:])
    assert verify(*server.requests[1][1:], "of the deployment")


async def test_without_any_secret_nothing_is_sent(server, tmp_path):
    async with server.running(), queue_in(tmp_path, sender()) as queue:
        new = await new_job(tmp_path, f"{server.url}/hook", secret=None)
        await end(queue, new)
        delivery = await wait_for_delivery(queue, new, lambda d: not d.is_delivered)
        assert "no longer a secret" in delivery.error
        await after_another_delivery(queue, server, tmp_path)
        assert (await wait_for_delivery(queue, new, lambda _: True)) == delivery, "not tried again"
    assert not of_hook(server)


def test_what_could_not_be_delivered_is_refused_at_once():
    webhooks = WebhookSender(describe)
    good = "https://host.example/hook"
    webhooks.check(NewWebhook(url=good, secret=SECRET))
    WebhookSender(describe, secret=SECRET).check(NewWebhook(url=good))
    for webhook, parameter in (
        (NewWebhook(url="http://127.0.0.1/", secret=SECRET), "webhook.url"),
        (NewWebhook(url="ftp://host.example/", secret=SECRET), "webhook.url"),
        (NewWebhook(url=good), "webhook.secret"),
        (NewWebhook(url=good, secret="short"), "webhook.secret"),
        (NewWebhook(url=good, secret="x" * 513), "webhook.secret"),
        (NewWebhook(url=good, secret="x" * 20 + "\0"), "webhook.secret"),
    ):
        with pytest.raises(OptionError) as caught:
            webhooks.check(webhook)
        assert caught.value.parameter == parameter
        assert webhook.secret is None or webhook.secret not in str(caught.value)
    with pytest.raises(OptionError) as caught:
        webhooks.check(NewWebhook(url=good), secret_parameter="webhook_secret")
    assert caught.value.parameter == "webhook_secret"
    assert SECRET not in repr(NewWebhook(url=good, secret=SECRET))


def test_the_example_of_the_readme():
    body = b'{"event":"job.succeeded","created_at":"2026-11-21T12:00:00.000Z","job":{}}'
    header = sign("whsec_0123456789abcdef", 1_795_262_400, body)
    readme = (ROOT / "service/jobs/README.md").read_text()
    assert header in readme
    assert body.decode() in readme


async def test_a_second_start_changes_nothing(tmp_path):
    webhooks = sender()
    async with queue_in(tmp_path, webhooks) as queue:
        looking = webhooks._looking
        queue.start_webhooks()
        assert webhooks._looking is looking
    await webhooks.close(grace_seconds=0.0)
