"""Ten times the server's capacity at once: admitted requests succeed, the others are refused."""

import asyncio
import statistics
import time

import httpx2

from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from tests.integration.listening import Held
from tests.integration.serving import loader, recording, serving
from tests.waiting import until

CAPACITY = 4
"""Number of recordings of 3 s that may wait, by the limit on waiting audio."""
# Two segments at 0 and 2.04 s, worked out in fake_backend.py.
NOTES = [(0.0, 60), (0.5, 36), (2.04, 61), (2.54, 36)]


async def ask_for_health(client, ended):
    """Request `/health` every 20 ms until ``ended``; return the durations in seconds."""
    latencies = []
    while not ended.is_set():
        began = time.perf_counter()
        assert (await client.get("/health")).status_code == 200
        latencies.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    return latencies


def heard(response):
    return [(note["start_time"], note["pitch"]) for note in response.json()["notes"]]


async def test_ten_times_the_load_is_refused_at_once_or_served(tmp_path):
    held = Held(slots=2, encode_batch=2, iteration_seconds=0.02)
    async with serving(
        tmp_path, load=loader(held), max_waiting_audio_seconds=CAPACITY * 3.0 + 0.5
    ) as client:
        ended = asyncio.Event()
        health = asyncio.create_task(ask_for_health(client, ended))
        body = recording(3.0)
        # The queue is filled first, so that it is full when the crowd arrives.
        first: list[asyncio.Task[httpx2.Response]] = []
        for number in range(1, CAPACITY + 1):
            first.append(asyncio.create_task(client.post("/v1/transcriptions", content=body)))
            # One after the other, because a recording that is being opened counts as one of typical
            # length.
            await until(
                lambda expected=number * 3.0: (
                    client.service.transcriber.admissions.waiting_audio_seconds == expected
                )
            )
        crowd = [
            asyncio.create_task(client.post("/v1/transcriptions", content=body))
            for _ in range(10 * CAPACITY - len(first))
        ]
        async with asyncio.timeout(400):  # none hangs
            refusals: list[httpx2.Response] = await asyncio.gather(*crowd)
            assert not any(task.done() for task in first)  # refused at once, not after them
            held.go.set()
            answers: list[httpx2.Response] = await asyncio.gather(*first)
        ended.set()
        latencies = await health

        assert [heard(answer) for answer in answers] == [NOTES] * CAPACITY
        for refusal in refusals:
            assert (refusal.status_code, refusal.json()["code"]) == (503, "overloaded")
            assert int(refusal.headers["retry-after"]) >= 1
        # Generous: it takes about a millisecond; a blocked event loop takes seconds.
        assert statistics.median(latencies) < 0.1
        assert client.service.transcriber.admissions.waiting_audio_seconds == 0
        assert list(tmp_path.iterdir()) == []
        assert heard(await client.post("/v1/transcriptions", content=body)) == NOTES


async def test_whoever_comes_back_when_told_is_let_in_at_last(tmp_path):
    slow = FakeBackend(MT3, slots=2, encode_batch=2, iteration_seconds=0.05)
    async with serving(tmp_path, load=loader(slow), max_waiting_audio_seconds=6.5) as client:
        body = recording(3.0)

        async def insist():
            while True:
                answer = await client.post("/v1/transcriptions", content=body)
                if answer.status_code == 200:
                    return heard(answer)
                assert answer.status_code == 503
                await asyncio.sleep(int(answer.headers["retry-after"]))

        async with asyncio.timeout(400):
            assert await asyncio.gather(*(insist() for _ in range(8))) == [NOTES] * 8
