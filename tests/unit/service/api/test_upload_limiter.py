"""Upload permits: shared between callers, and taken from slow uploads when others need them."""

import asyncio
import contextlib

import pytest
from starlette.requests import Request

from service.api.uploads.upload_limiter import GRACE_SECONDS, UploadLimiter, upload_owner
from service.auth.caller import ANONYMOUS, Caller
from service.errors import OverloadedError, QuotaError

RATE = 16_000


class Clock:
    seconds = 1_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scene(clock):
    """A limiter of four uploads, two of each caller; returns a function that takes a permit."""
    limiter = UploadLimiter(
        max_uploads=4, max_per_owner=2, scarce_bytes_per_second=RATE, clock=clock
    )
    with contextlib.ExitStack() as held:
        yield lambda owner, length=None: held.enter_context(limiter.acquire(owner, length))


def receive(upload, seconds, rate):
    """Simulate a body that arrived at ``rate`` for some seconds."""

    async def wait():
        async with upload.waiting(3_600.0):
            upload.clock.seconds += seconds

    asyncio.run(wait())
    upload.size += round(seconds * rate)


def test_a_caller_can_take_its_limit_and_others_the_rest(scene):
    for owner in ("anna", "anna", "bert"):
        receive(scene(owner), 10, RATE)
    with pytest.raises(QuotaError):
        scene("anna")
    receive(scene("bert"), 10, RATE)
    with pytest.raises(OverloadedError):
        scene("carl")


def test_the_slowest_upload_is_preempted_when_all_permits_are_taken(scene):
    uploads = [scene(owner) for owner in ("anna", "anna", "bert", "bert")]
    for upload, rate in zip(uploads, (RATE, 1_200, 1_100, 2 * RATE), strict=True):
        receive(upload, 10, rate)
    receive(scene("carl"), 10, RATE)
    assert [upload.is_preempted for upload in uploads] == [False, False, True, False]
    scene("carl")
    assert [upload.is_preempted for upload in uploads] == [False, True, True, False]


def test_a_caller_at_its_limit_preempts_only_its_own_slow_upload(scene):
    other = scene("bert")
    receive(other, 10, 1)
    own = [scene("anna"), scene("anna")]
    receive(own[0], 10, 1_000)
    receive(own[1], 10, RATE)
    scene("anna")
    assert (other.is_preempted, own[0].is_preempted, own[1].is_preempted) == (False, True, False)


async def wait_for_bytes(upload):
    async with upload.waiting(3_600.0):
        await asyncio.Event().wait()


async def test_a_new_upload_is_not_preempted_and_retry_after_says_when_it_may_be(scene, clock):
    uploads = [scene(owner) for owner in ("anna", "anna", "bert", "bert")]
    waiting = [asyncio.create_task(wait_for_bytes(upload)) for upload in uploads]
    await asyncio.sleep(0)
    clock.seconds += 2.0
    with pytest.raises(OverloadedError) as refused:
        scene("carl")
    assert refused.value.retry_after_seconds == GRACE_SECONDS - 2.0
    clock.seconds += refused.value.retry_after_seconds
    scene("carl")
    assert sum(upload.is_preempted for upload in uploads) == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_retry_after_is_when_the_first_announced_body_should_end(scene):
    for owner, length in (("anna", 10**9), ("anna", 10**6), ("bert", None), ("bert", None)):
        receive(scene(owner, length), 10, 20_000)
    with pytest.raises(OverloadedError) as refused:
        scene("carl")
    assert refused.value.retry_after_seconds == 40  # 800,000 bytes at 20,000 a second


def test_a_permit_is_released_after_its_upload(clock):
    limiter = UploadLimiter(
        max_uploads=1, max_per_owner=1, scarce_bytes_per_second=RATE, clock=clock
    )
    for _ in range(3):
        with limiter.acquire("anna", None) as upload:
            receive(upload, 10, RATE)


async def test_a_wait_for_bytes_ends_at_once_when_the_upload_is_preempted(clock):
    limiter = UploadLimiter(
        max_uploads=1, max_per_owner=1, scarce_bytes_per_second=RATE, clock=clock
    )

    with limiter.acquire("anna", None) as upload:
        waiting = asyncio.create_task(wait_for_bytes(upload))
        await asyncio.sleep(0)
        clock.seconds += GRACE_SECONDS
        with limiter.acquire("bert", None), pytest.raises(TimeoutError):
            await waiting
        with pytest.raises(TimeoutError):
            await wait_for_bytes(upload)


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_without_keys_the_owner_is_the_address(address, owner):
    request = Request({"type": "http", "headers": [], "client": (address, 1)})
    assert upload_owner(request, ANONYMOUS) == owner
    assert upload_owner(request, Caller(name="anna", scopes=frozenset())) == "anna"


def test_forwarded_addresses_are_ignored():
    request = Request(
        {
            "type": "http",
            "headers": [(b"x-forwarded-for", b"198.51.100.1")],
            "client": ("192.0.2.7", 1),
        }
    )
    assert upload_owner(request, ANONYMOUS) == "192.0.2.7"
    assert upload_owner(Request({"type": "http", "headers": [], "client": None}), ANONYMOUS) == ""
