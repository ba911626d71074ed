"""The read-write lock: many together, or one alone."""

import asyncio

import pytest

from service.jobs.running.read_write_lock import ReadWriteLock


class Room:
    """Records the holders of the lock, and checks that they never conflict."""

    def __init__(self):
        self.lock = ReadWriteLock()
        self.together = self.alone = self.most = 0

    async def go_together(self, steps):
        async with self.lock.shared():
            self.together += 1
            self.most = max(self.most, self.together)
            for _ in range(steps):
                assert not self.alone
                await asyncio.sleep(0)
            self.together -= 1

    async def go_alone(self, steps):
        async with self.lock.exclusive():
            self.alone += 1
            for _ in range(steps):
                assert self.alone == 1
                assert not self.together
                await asyncio.sleep(0)
            self.alone -= 1


async def test_one_alone_is_never_beside_another():
    room = Room()
    visits = [room.go_together(n % 5) for n in range(40)] + [room.go_alone(n % 3) for n in range(5)]
    await asyncio.gather(*visits[::2], *visits[1::2])
    assert room.most > 1


async def test_a_quarantined_item_does_not_wait_behind_newcomers():
    room = Room()
    inside = asyncio.create_task(room.go_together(3))
    await asyncio.sleep(0)
    order = []

    async def note(name, visit):
        await visit
        order.append(name)

    await asyncio.gather(
        inside, note("suspect", room.go_alone(1)), note("newcomer", room.go_together(1))
    )
    assert order == ["suspect", "newcomer"]


@pytest.mark.parametrize("kind", ["go_alone", "go_together"])
async def test_who_gives_up_waiting_or_is_interrupted_inside_leaves_no_trace(kind):
    room = Room()
    inside = asyncio.create_task(room.go_alone(10_000))
    while not room.alone:  # noqa: ASYNC110
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(getattr(room, kind)(1)) for _ in range(3)]
    await asyncio.sleep(0)  # they begin, and wait
    for task in (*waiting, inside):
        task.cancel()
    await asyncio.gather(*waiting, inside, return_exceptions=True)
    room.alone = room.together = 0
    await asyncio.gather(room.go_alone(1), room.go_together(1))
