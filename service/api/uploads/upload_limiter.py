"""Who may send a body now: places for uploads, shared between callers, that slow ones cannot hold.

    a caller at its share        its own slowest upload is ended, or the new one is refused (429)
    all places taken             the slowest upload of all is ended, or the new one is refused (503)

Ended is only an upload that has been received for `GRACE_SECONDS` at less than the scarce rate; the
others go on. So a place costs bandwidth for as long as somebody else needs it, and a slow upload
that is in nobody's way is left alone. A rate counts the time spent waiting for the client only, so
that a slow disk is not held against it.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator

from fastapi import Request

from service.auth.caller import ANONYMOUS, Caller
from service.errors import OverloadedError, QuotaError

GRACE_SECONDS = 5.0
"""An upload younger than this is not judged: connections begin slowly."""
_MEAN_SHARE = 0.1
"""Weight of the latest upload in the mean time of one."""
_LONGEST_RETRY_SECONDS = 600
_IPV6_NETWORK_BITS = 64
"""What one customer of an Internet provider has to choose addresses from."""


def upload_owner(request: Request, caller: Caller) -> str:
    """Names whose share a request uses: the key's, or the address's where there are no keys.

    `X-Forwarded-For` is not read: behind a proxy, and without keys, all clients are one address.
    """
    if caller.name != ANONYMOUS.name:
        return caller.name
    host = request.client.host if request.client else ""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), _IPV6_NETWORK_BITS), strict=False))
    return host


@dataclasses.dataclass(eq=False, kw_only=True, slots=True)
class ActiveUpload:
    """One body being received."""

    owner: str
    announced_bytes: int | None
    """By its Content-Length."""
    clock: Callable[[], float]
    size: int = 0
    """Bytes received."""
    is_ended: bool = False
    """Another upload has taken the place."""
    _waited: float = 0.0
    _waiting_since: float | None = None
    _timeout: asyncio.Timeout | None = None

    @property
    def waited_seconds(self) -> float:
        """Time spent waiting for the client's bytes."""
        since = self._waiting_since
        return self._waited + (0.0 if since is None else self.clock() - since)

    @property
    def bytes_per_second(self) -> float:
        """Mean rate so far."""
        return self.size / max(self.waited_seconds, 1e-3)

    @contextlib.asynccontextmanager
    async def waiting(self, timeout_seconds: float) -> AsyncGenerator[None]:
        """Waits for the next bytes within the context.

        Raises:
            TimeoutError: None came in time, or the place was taken away.
        """
        if self.is_ended:
            raise TimeoutError
        self._waiting_since = self.clock()
        try:
            async with asyncio.timeout(timeout_seconds) as self._timeout:
                yield
        finally:
            self._waited += self.clock() - self._waiting_since
            self._waiting_since = self._timeout = None

    def end(self) -> None:
        """Takes the place away; whoever waits for its bytes gets a `TimeoutError`."""
        self.is_ended = True
        if self._timeout is not None:
            with contextlib.suppress(RuntimeError):  # it is just ending by itself
                self._timeout.reschedule(asyncio.get_running_loop().time())


class UploadLimiter:
    """Counts the bodies being received. To be used from one event loop."""

    def __init__(
        self,
        *,
        most: int,
        most_per_owner: int,
        scarce_bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins without any.

        Args:
            most: Bodies received at once.
            most_per_owner: Those of one caller.
            scarce_bytes_per_second: A slower body is ended when another needs its place.
            clock: Seconds.
        """
        self._most = most
        self._most_per_owner = most_per_owner
        self._scarce_rate = scarce_bytes_per_second
        self._clock = clock
        self._taken: set[ActiveUpload] = set()
        self._mean_seconds = 0.0

    @contextlib.contextmanager
    def acquire(self, owner: str, announced_bytes: int | None) -> Generator[ActiveUpload]:
        """Holds a place from a request's head to its last byte.

        Args:
            owner: Whose share it uses; see `upload_owner`.
            announced_bytes: Length of the body, where the head has it.

        Raises:
            QuotaError: The owner has its share, and none of its uploads is slow.
            OverloadedError: All places are taken, and no upload is slow.
        """
        own = [place for place in self._taken if place.owner == owner]
        is_full = len(self._taken) >= self._most
        has_share = len(own) >= self._most_per_owner
        if has_share or is_full:
            ending = own if has_share else list(self._taken)
            if not self._end_slowest(ending):
                seconds = self._retry_after_seconds(ending)
                if is_full:
                    raise OverloadedError(
                        f"{len(self._taken)} recordings are being received, as many as may be at"
                        f" once; try again in {seconds} s",
                        retry_after_seconds=seconds,
                    )
                raise QuotaError(
                    f"{len(own)} uploads of this caller are being received, as many as one may"
                    " send at once (max_concurrent_uploads_per_caller); try again in"
                    f" {seconds} s",
                    retry_after_seconds=seconds,
                )
        place = ActiveUpload(owner=owner, announced_bytes=announced_bytes, clock=self._clock)
        self._taken.add(place)
        began = self._clock()
        try:
            yield place
        finally:
            self._taken.discard(place)
            self._mean_seconds += _MEAN_SHARE * (self._clock() - began - self._mean_seconds)

    def _end_slowest(self, places: Collection[ActiveUpload]) -> bool:
        slow = [place for place in places if self._is_slow(place)]
        if not slow:
            return False
        slowest = min(slow, key=lambda place: place.bytes_per_second)
        self._taken.discard(slowest)
        slowest.end()
        return True

    def _is_slow(self, place: ActiveUpload) -> bool:
        return place.waited_seconds >= GRACE_SECONDS and place.bytes_per_second < self._scarce_rate

    def _retry_after_seconds(self, places: Collection[ActiveUpload]) -> int:
        """Gives when the first of these is expected to end, or may be ended for being slow."""
        expected: list[float] = []
        for place in places:
            rate = place.bytes_per_second
            if rate < self._scarce_rate:
                expected.append(GRACE_SECONDS - place.waited_seconds)
            elif place.announced_bytes is not None:
                expected.append((place.announced_bytes - place.size) / rate)
        if not expected:  # of n uploads that take t seconds each, one ends every t / n
            expected.append(self._mean_seconds / max(len(self._taken), 1))
        return min(max(math.ceil(min(expected)), 1), _LONGEST_RETRY_SECONDS)
