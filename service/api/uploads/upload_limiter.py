"""Limit concurrent uploads, in total and for each caller, so that slow ones cannot block others.

    caller at its limit      its own slowest upload is preempted, or the new one is refused (429)
    server at its limit      the slowest upload of all is preempted, or the new one is refused (503)

Only an upload received for at least `GRACE_SECONDS` below the scarce rate is preempted. A slow
upload continues as long as no other upload needs its permit. The rate counts only the time spent
waiting for the client, so that a slow disk does not lower it.
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
"""An upload is not preempted before this time: connections start slowly."""
_MEAN_WEIGHT = 0.1
"""Weight of the latest upload in the moving average of upload durations."""
_MAX_RETRY_SECONDS = 600
_IPV6_NETWORK_BITS = 64
"""Prefix length of one customer's network; its host addresses can be chosen freely."""


def upload_owner(request: Request, caller: Caller) -> str:
    """Return the owner whose limit a request counts against: its key or, without keys, its address.

    `X-Forwarded-For` is not read: behind a proxy and without keys all clients share one address.
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
    """A body being received."""

    owner: str
    announced_bytes: int | None
    """Content-Length of the body, if given."""
    clock: Callable[[], float]
    size: int = 0
    """Bytes received."""
    is_preempted: bool = False
    """Another upload has taken the permit."""
    _waited: float = 0.0
    _waiting_since: float | None = None
    _timeout: asyncio.Timeout | None = None

    @property
    def waited_seconds(self) -> float:
        """Total time spent waiting for the client's bytes."""
        since = self._waiting_since
        return self._waited + (0.0 if since is None else self.clock() - since)

    @property
    def bytes_per_second(self) -> float:
        """Mean rate so far."""
        return self.size / max(self.waited_seconds, 1e-3)

    @contextlib.asynccontextmanager
    async def waiting(self, timeout_seconds: float) -> AsyncGenerator[None]:
        """Time a wait for the next bytes, and bound it.

        Raises:
            TimeoutError: No bytes arrived in time, or the upload was preempted.
        """
        if self.is_preempted:
            raise TimeoutError
        self._waiting_since = self.clock()
        try:
            async with asyncio.timeout(timeout_seconds) as self._timeout:
                yield
        finally:
            self._waited += self.clock() - self._waiting_since
            self._waiting_since = self._timeout = None

    def preempt(self) -> None:
        """End the upload: a pending or later wait for its bytes raises `TimeoutError`."""
        self.is_preempted = True
        if self._timeout is not None:
            with contextlib.suppress(RuntimeError):  # the timeout has just expired
                self._timeout.reschedule(asyncio.get_running_loop().time())


class UploadLimiter:
    """Grants permits to uploads. To be used from one event loop."""

    def __init__(
        self,
        *,
        max_uploads: int,
        max_per_owner: int,
        scarce_bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without uploads.

        Args:
            max_uploads: Maximum number of concurrent uploads.
            max_per_owner: Maximum number of one owner's concurrent uploads.
            scarce_bytes_per_second: A slower upload can be preempted.
            clock: Monotonic time in seconds.
        """
        self._max_uploads = max_uploads
        self._max_per_owner = max_per_owner
        self._scarce_rate = scarce_bytes_per_second
        self._clock = clock
        self._active: set[ActiveUpload] = set()
        self._mean_seconds = 0.0

    @contextlib.contextmanager
    def acquire(self, owner: str, announced_bytes: int | None) -> Generator[ActiveUpload]:
        """Hold a permit while the body is received.

        Args:
            owner: The owner from `upload_owner`.
            announced_bytes: Content-Length of the body, if given.

        Raises:
            QuotaError: The owner is at its limit and none of its uploads is slow.
            OverloadedError: The server is at its limit and no upload is slow.
        """
        own = [upload for upload in self._active if upload.owner == owner]
        is_full = len(self._active) >= self._max_uploads
        is_owner_full = len(own) >= self._max_per_owner
        if is_owner_full or is_full:
            candidates = own if is_owner_full else list(self._active)
            if not self._preempt_slowest(candidates):
                seconds = self._retry_after_seconds(candidates)
                if is_full:
                    raise OverloadedError(
                        f"{len(self._active)} recordings are being received, which is the limit;"
                        f" try again in {seconds} s",
                        retry_after_seconds=seconds,
                    )
                raise QuotaError(
                    f"{len(own)} uploads of this caller are being received, which is the limit"
                    f" (max_concurrent_uploads_per_caller); try again in {seconds} s",
                    retry_after_seconds=seconds,
                )
        upload = ActiveUpload(owner=owner, announced_bytes=announced_bytes, clock=self._clock)
        self._active.add(upload)
        began = self._clock()
        try:
            yield upload
        finally:
            self._active.discard(upload)
            self._mean_seconds += _MEAN_WEIGHT * (self._clock() - began - self._mean_seconds)

    def _preempt_slowest(self, uploads: Collection[ActiveUpload]) -> bool:
        slow = [upload for upload in uploads if self._is_slow(upload)]
        if not slow:
            return False
        slowest = min(slow, key=lambda upload: upload.bytes_per_second)
        self._active.discard(slowest)
        slowest.preempt()
        return True

    def _is_slow(self, upload: ActiveUpload) -> bool:
        is_old = upload.waited_seconds >= GRACE_SECONDS
        return is_old and upload.bytes_per_second < self._scarce_rate

    def _retry_after_seconds(self, uploads: Collection[ActiveUpload]) -> int:
        """Estimate when the first of these uploads ends, or can be preempted for being slow."""
        expected: list[float] = []
        for upload in uploads:
            rate = upload.bytes_per_second
            if rate < self._scarce_rate:
                expected.append(GRACE_SECONDS - upload.waited_seconds)
            elif upload.announced_bytes is not None:
                expected.append((upload.announced_bytes - upload.size) / rate)
        if not expected:  # of n uploads of t seconds each, one ends every t / n
            expected.append(self._mean_seconds / max(len(self._active), 1))
        return min(max(math.ceil(min(expected)), 1), _MAX_RETRY_SECONDS)
