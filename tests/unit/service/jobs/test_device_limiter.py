"""Places at the device: limited for each tenant, and taken by local recordings only."""

import asyncio
import contextlib

import pytest

from service.jobs.running.device_limiter import DeviceLimiter
from tests.unit.service.jobs.slow_fetches import check_slow_fetches

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def room(places, tenant):
    """Hold a place until an event is set; return the task and the event."""
    entered, leaving = asyncio.Event(), asyncio.Event()

    async def visit():
        async with places.hold(tenant):
            entered.set()
            await leaving.wait()

    task = asyncio.create_task(visit())
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        yield entered, leaving, task
    finally:
        leaving.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_tenant_has_its_share_and_the_rest_is_for_others():
    places = DeviceLimiter(limit=4, tenant_limit=3)
    async with contextlib.AsyncExitStack() as held:
        anna = [await held.enter_async_context(room(places, "anna")) for _ in range(5)]
        assert [entered.is_set() for entered, _, _ in anna] == [True] * 3 + [False] * 2
        bert = [await held.enter_async_context(room(places, "bert")) for _ in range(2)]
        assert [entered.is_set() for entered, _, _ in bert] == [True, False]
        anna[4][2].cancel()  # gives up waiting
        _, leaving, task = anna[0]
        leaving.set()
        await task
        await asyncio.sleep(0)
        assert [entered.is_set() for entered, _, _ in anna[3:]] == [True, False]
    assert not places._held


async def test_who_is_canceled_as_the_place_is_given_leaves_it():
    places = DeviceLimiter(limit=1, tenant_limit=1)
    async with room(places, "anna") as (_, leaving, first), room(places, "bert") as (_, _, second):
        leaving.set()
        await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    async with room(places, "carl") as (entered, _, _):
        assert entered.is_set()


async def test_slow_fetches_hold_up_neither_uploads_nor_others_fetches(tmp_path):
    await check_slow_fetches(tmp_path, f"sqlite:///{tmp_path}/jobs.sqlite")
