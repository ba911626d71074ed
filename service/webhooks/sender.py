"""Delivers webhooks when jobs end: one signed POST, repeated until it is accepted.

    a job ends                 its event is written to the database in the same transaction
    -> claimed                 by exactly one process, and again if that process dies
    -> signed and sent         to a checked address, redirects not followed, 10 s in all
    -> 2xx                     delivered
       4xx                     a permanent refusal (except 408, 425, 429)
       anything else           retried, ten attempts over some four hours

An event is delivered at least once: a process can die after the receiver's answer and before it is
recorded. The body and ``MT3-Delivery`` are the same at every attempt, so that receivers can
recognize repetitions. service/jobs/README.md describes the signature, with an example.
"""

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Callable

import httpx2
import sqlalchemy as sa

from mt3_model.errors import OptionError
from mt3_model.export.strict_json import write_json
from service.backoff import backoff_seconds
from service.database.database import Database
from service.fetching import guarded_transport as transport
from service.fetching.addresses import UrlRefusedError, check_url, read_url
from service.observability.logging import log_event
from service.schemas.job_response import JobResponse
from service.schemas.schema import format_time
from service.schemas.webhook_payload import WebhookPayload
from service.webhooks import outbox
from service.webhooks.outbox import Claimed
from service.webhooks.webhook import (
    LONGEST_SECRET,
    SHORTEST_SECRET,
    Delivery,
    NewWebhook,
)

_NOT_MEANT = frozenset({408, 425, 429})
"""The 4xx statuses that ask for a retry."""
_READ_BYTES = 4_096
"""The part of a response's body that is read before the connection is closed."""
_READ_SECONDS = 1.0
_logger = logging.getLogger(__name__)

Describe = Callable[[sa.Connection, str], JobResponse]
"""Returns the API's document of a job, given a connection in a transaction and the job's id."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WebhookOptions:
    """Options of the delivery of webhooks."""

    most_tries: int = 10
    delays_seconds: tuple[float, ...] = (10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200)
    """Pauses before the second, third, ... attempt. Each is lengthened at random by up to a
    quarter, so that a receiver that recovers does not get everything at once."""
    timeout_seconds: float = 10.0
    """The time limit of an attempt, with name resolution and connecting."""
    lease_seconds: float = 40.0
    """An attempt without an outcome after this time is presumed dead. It is four times the longest
    duration, so that neither a busy machine nor a difference of clocks makes an attempt run
    twice."""
    polling_seconds: float = 1.0
    """Time between two checks for due deliveries."""
    at_once: int = 16
    """Concurrent attempts of one process."""
    at_once_of_one_host: int = 4
    """Attempts to one host at once, so that a slow receiver does not delay the others."""


class WebhookSender:
    """Delivers webhooks; one per process, for ``JobQueue(webhooks=...)``.

    The queue starts and closes it; both processes that run items and those that only answer
    requests may have one. The route that accepts jobs calls `check`.
    """

    def __init__(
        self,
        describe: Describe,
        *,
        secret: str | None = None,
        allow_private: bool = False,
        options: WebhookOptions | None = None,
        on_try: Callable[[str], None] | None = None,
        resolver: transport.Resolve = transport.resolve,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the object.

        Args:
            describe: builds the ``job`` of the body: the document of ``GET /v1/jobs/{id}``.
            secret: the deployment's secret, for jobs without their own.
            allow_private: whether to send to private networks and to this machine too.
            options: the delivery options.
            on_try: called with the result of each attempt: ``delivered``, ``tried`` (another
                follows) or ``given_up``.
            resolver: resolves host names.
            tls: TLS context; by default the system's certificate authorities.
            clock: returns the time, seconds since 1970; the same as the queue's.
        """
        self._describe = describe
        self._secret = secret
        self._allow_private = allow_private
        self._options = options or WebhookOptions()
        self._on_try = on_try
        self._resolver = resolver
        self._tls = transport.trusted(tls)
        self._clock = clock
        self._database: Database | None = None
        self._looking: asyncio.Task[None] | None = None
        self._trying: set[asyncio.Task[None]] = set()
        self._hosts: collections.Counter[str] = collections.Counter()
        self._has_room = asyncio.Event()

    def check(
        self,
        webhook: NewWebhook,
        *,
        url_parameter: str = "webhook.url",
        secret_parameter: str = "webhook.secret",  # noqa: S107 (a field's name)
    ) -> None:
        """Refuse, at submission, a webhook that could not be delivered. Needs no network.

        A webhook without any secret is refused too: its receiver could not verify who sent it.

        Args:
            webhook: the webhook of the request.
            url_parameter: the URL's field name, for the error.
            secret_parameter: the secret's field name, for the error.

        Raises:
            OptionError: It is refused; the message says why.
        """
        check_url(url_parameter, webhook.url, allow_private=self._allow_private)
        secret = webhook.secret
        if secret is None:
            if self._secret is None:
                raise OptionError(
                    secret_parameter,
                    f"{secret_parameter} is missing; expected one, because this server has no"
                    " secret of its own",
                )
        elif not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET or "\0" in secret:
            raise OptionError(
                secret_parameter,
                f"{secret_parameter} has {len(secret)} characters; expected {SHORTEST_SECRET} to"
                f" {LONGEST_SECRET}",
            )

    def start(self, database: Database) -> None:
        """Start delivering; called by the queue, on the event loop."""
        self._database = database
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    async def close(self, *, grace_seconds: float) -> None:
        """Start no more attempts and let running ones end; those that do not are repeated later."""
        if self._looking is None:
            return
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        self._looking = None
        if self._trying:
            await asyncio.wait(list(self._trying), timeout=grace_seconds)
        running = list(self._trying)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            self._has_room.clear()
            try:
                await self._begin_due()
            except Exception as error:  # noqa: BLE001 (continues, whatever one row or job holds)
                log_event(_logger, "webhooks_failed", level=logging.ERROR, error=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.polling_seconds):
                    await self._has_room.wait()

    async def _begin_due(self) -> None:
        room = self._options.at_once - len(self._trying)
        if room <= 0:
            return
        most = self._options.at_once_of_one_host
        busy = [host for host, count in self._hosts.items() if count >= most]
        now = self._clock()
        database = self._opened
        found = await database.run(
            lambda c: outbox.due(c, now, room, busy), wait_seconds=None
        )  # fmt: skip
        for event in found:
            if self._hosts[event.host] >= most:
                continue
            claimed = await self._claim(event.job_id)
            if claimed is not None:
                self._begin(claimed)

    async def _claim(self, job_id: str) -> Claimed | None:
        def claim(connection: sa.Connection) -> Claimed | None:
            claimed = outbox.claim(
                connection, job_id, now=self._clock(), lease_seconds=self._options.lease_seconds,
                most_tries=self._options.most_tries,
            )  # fmt: skip
            if claimed is None or claimed.body is not None:
                return claimed
            body = self._write(claimed, self._describe(connection, job_id))
            outbox.keep_body(connection, claimed, body)
            return dataclasses.replace(claimed, body=body)

        return await self._opened.run(claim, wait_seconds=None)

    def _write(self, claimed: Claimed, job: JobResponse) -> str:
        payload = WebhookPayload.model_validate(
            {"event": claimed.event, "created_at": format_time(claimed.event_at), "job": job}
        )
        return write_json(payload.model_dump(mode="json"))

    def _begin(self, claimed: Claimed) -> None:
        self._hosts[claimed.host] += 1
        task = asyncio.create_task(self._try(claimed))
        self._trying.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._trying.discard(task)
            self._hosts[claimed.host] -= 1
            if not self._hosts[claimed.host]:
                del self._hosts[claimed.host]
            self._has_room.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log_event(_logger, "webhooks_failed", level=logging.ERROR, error=error)

        task.add_done_callback(end)

    async def _try(self, claimed: Claimed) -> None:
        status, error = await self._send(claimed)
        now = self._clock()
        is_delivered = error is None
        next_at = None
        is_last = claimed.attempt >= self._options.most_tries or is_final(status)
        if not is_delivered and not is_last and self._secret_of(claimed) is not None:
            delays = self._options.delays_seconds
            next_at = now + backoff_seconds(claimed.attempt, delays, spread=0.25)
        delivery = Delivery(
            at=now, attempt=claimed.attempt, status=status, error=error, is_delivered=is_delivered
        )
        await self._opened.run(
            lambda c: outbox.note(c, claimed, delivery, next_at), wait_seconds=None
        )
        outcome = "delivered" if is_delivered else "given_up" if next_at is None else "tried"
        log_event(
            _logger, "webhook_tried", level=logging.INFO if is_delivered else logging.WARNING,
            job=claimed.job_id, attempt=claimed.attempt, status=status, outcome=outcome,
            reason=error,
        )  # fmt: skip
        if self._on_try is not None:
            self._on_try(outcome)

    async def _send(self, claimed: Claimed) -> tuple[int | None, str | None]:
        """Make an attempt; return the status and, if it failed, the reason."""
        secret = self._secret_of(claimed)
        if secret is None:
            return None, "there is no longer a secret to sign with"
        assert claimed.body is not None
        body = claimed.body.encode()
        seen: list[int] = []
        try:
            async with (
                asyncio.timeout(self._options.timeout_seconds),
                transport.client(
                    allow_private=self._allow_private,
                    timeout=httpx2.Timeout(self._options.timeout_seconds),
                    resolver=self._resolver, tls=self._tls,
                ) as http,
            ):  # fmt: skip
                request = http.build_request(
                    "POST",
                    read_url(claimed.url, allow_private=self._allow_private),
                    content=body,
                    headers={
                        "Content-Type": "application/json",
                        "MT3-Delivery": claimed.delivery_id,
                        "MT3-Signature": sign(secret, int(self._clock()), body),
                    },
                )
                async with transport.answer(http, request) as response:
                    seen.append(response.status_code)
                    await _read_a_little(response)
        except UrlRefusedError:
            return None, "the receiver's host is unknown, or not allowed"
        except (TimeoutError, httpx2.TimeoutException):
            if not seen:
                return None, f"no answer within {self._options.timeout_seconds:g} s"
        except (httpx2.TransportError, httpx2.StreamError):
            if not seen:
                return None, "the receiver cannot be reached"
        return seen[0], None if _is_taken(seen[0]) else f"the receiver answered {seen[0]}"

    def _secret_of(self, claimed: Claimed) -> str | None:
        return claimed.secret if claimed.secret is not None else self._secret

    @property
    def _opened(self) -> Database:
        assert self._database is not None, "start() first"
        return self._database


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Compute the value of ``MT3-Signature``.

    Args:
        secret: the secret shared with the receiver; its UTF-8 bytes are the key.
        timestamp: the time of sending, in seconds since 1970; receivers refuse old ones as replays.
        body: the body as it is sent.
    """
    signed = str(timestamp).encode() + b"." + body
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def is_final(status: int | None) -> bool:
    """Return whether a status is a final refusal by the receiver."""
    return status is not None and 400 <= status < 500 and status not in _NOT_MEANT  # noqa: PLR2004


def _is_taken(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004


async def _read_a_little(response: httpx2.Response) -> None:
    with contextlib.suppress(TimeoutError, httpx2.TransportError, httpx2.StreamError):
        async with asyncio.timeout(_READ_SECONDS):
            count = 0
            async for piece in response.aiter_raw():
                count += len(piece)
                if count >= _READ_BYTES:
                    return
