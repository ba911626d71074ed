"""The outbox of webhooks, as SQL: registered, announced, claimed, recorded, deleted.

There is one row for each job that has a webhook. The transaction that ends a job also writes the
event, so no job ends without its event. One conditional statement claims an attempt: it counts the
attempt and sets the due time to the end of the lease. So exactly one process gets it, and if that
process dies, another gets it with the same delivery id. A recorded outcome names its
attempt, so an attempt whose lease has expired changes nothing. All functions run inside a
transaction of `Database.run`.
"""

import dataclasses
import uuid
from collections.abc import Collection

import sqlalchemy as sa

from service.database.metadata import metadata
from service.fetching.addresses import UrlRefusedError, read_url
from service.webhooks.webhook import Delivery, NewWebhook, Webhook

_LONGEST_AHEAD_SECONDS = 3 * 3_600.0
"""More than the longest pause between two attempts (`webhooks.WebhookOptions`), and than any
lease."""
_DIED = "the process that attempted the delivery ended"
webhooks = sa.Table(
    "mt3_webhook",
    metadata,
    # One row for each job with a webhook: at most one event waits, and one attempt runs, at a time.
    sa.Column(
        "job_id", sa.Text, sa.ForeignKey("mt3_job.job_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    # In plain text, because signing needs it. Deleted with the job.
    sa.Column("secret", sa.Text),
    # The event: its id, the same at every attempt; its name; its time; the body, from the first
    # attempt.
    sa.Column("delivery_id", sa.Text),
    sa.Column("event", sa.Text),
    sa.Column("event_at", sa.Float(53)),
    sa.Column("body", sa.Text),
    # Attempts started for this event.
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    # When the next attempt is due; while one runs, the end of its lease; NULL: nothing to send.
    sa.Column("next_at", sa.Float(53)),
    # The last attempt that ended.
    sa.Column("last_at", sa.Float(53)),
    sa.Column("last_attempt", sa.Integer),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.Text),
    sa.Column("is_delivered", sa.Boolean),
    sa.Index("mt3_webhook_by_time", "next_at"),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """An event whose next attempt is due."""

    job_id: str
    host: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """An attempt that this process has claimed."""

    job_id: str
    url: str
    host: str
    secret: str | None = dataclasses.field(repr=False)
    delivery_id: str
    event: str
    event_at: float
    body: str | None
    """The body that earlier attempts sent; None for the first attempt."""
    attempt: int


def register(connection: sa.Connection, job_id: str, new: NewWebhook) -> None:
    """Store the webhook of a new job."""
    try:
        host = read_url(new.url, allow_private=True).host
    except UrlRefusedError:
        host = ""  # delivery will fail and record the reason
    connection.execute(
        sa.insert(webhooks).values(job_id=job_id, url=new.url, host=host, secret=new.secret)
    )


def announce(connection: sa.Connection, job_id: str, event: str, now: float) -> None:
    """Write a job's end into the outbox, if the job has a webhook."""
    connection.execute(
        sa.update(webhooks)
        .where(webhooks.c.job_id == job_id)
        .values(
            delivery_id=str(uuid.uuid4()), event=event, event_at=now, body=None,
            attempts=0, next_at=now,
        )
    )  # fmt: skip


def withdraw(connection: sa.Connection, job_id: str) -> None:
    """Remove the undelivered event of a job that was retried."""
    connection.execute(
        sa.update(webhooks)
        .where(webhooks.c.job_id == job_id)
        .values(delivery_id=None, event=None, event_at=None, body=None, attempts=0, next_at=None)
    )


def forget(connection: sa.Connection, job_id: str) -> None:
    """Remove the webhook of a job."""
    connection.execute(sa.delete(webhooks).where(webhooks.c.job_id == job_id))


def load_webhooks(connection: sa.Connection, job_ids: Collection[str]) -> dict[str, Webhook]:
    """Return the webhooks of those jobs that have one."""
    rows = connection.execute(
        sa.select(
            webhooks.c.job_id, webhooks.c.url, webhooks.c.last_at, webhooks.c.last_attempt,
            webhooks.c.last_status, webhooks.c.last_error, webhooks.c.is_delivered,
        ).where(webhooks.c.job_id.in_(job_ids))
    )  # fmt: skip
    return {
        row.job_id: Webhook(
            url=row.url,
            last_delivery=None
            if row.last_at is None
            else Delivery(
                at=row.last_at,
                attempt=row.last_attempt,
                status=row.last_status,
                error=row.last_error,
                is_delivered=bool(row.is_delivered),
            ),
        )
        for row in rows
    }


def due(connection: sa.Connection, now: float, limit: int, but: Collection[str]) -> list[Due]:
    """Return events whose next attempt is due, those waiting longest first.

    Args:
        connection: a connection inside a transaction.
        now: the current time, seconds since 1970.
        limit: the largest number to return.
        but: hosts to leave out.
    """
    rows = connection.execute(
        sa.select(webhooks.c.job_id, webhooks.c.host)
        .where(_is_due(now), webhooks.c.host.not_in(but))
        .order_by(webhooks.c.next_at)
        .limit(limit)
    )
    return [Due(job_id=row.job_id, host=row.host) for row in rows]


def claim(
    connection: sa.Connection, job_id: str, *, now: float, lease_seconds: float, most_tries: int
) -> Claimed | None:
    """Claim the next attempt of an event; None if another process has claimed it, or none is due.

    Args:
        connection: a connection inside a transaction.
        job_id: the job's id.
        now: the current time, seconds since 1970.
        lease_seconds: time without a recorded outcome after which the attempt is presumed dead.
        most_tries: number of attempts after which there is no further one, even if the process of
            the last one died.
    """
    row = connection.execute(
        sa.select(webhooks).where(webhooks.c.job_id == job_id, _is_due(now))
    ).first()
    if row is None:
        return None
    is_unchanged = sa.and_(
        webhooks.c.job_id == job_id,
        webhooks.c.delivery_id == row.delivery_id,
        webhooks.c.attempts == row.attempts,
        webhooks.c.next_at == row.next_at,
    )
    if row.attempts >= most_tries:
        connection.execute(
            sa.update(webhooks)
            .where(is_unchanged)
            .values(
                next_at=None, last_at=now, last_attempt=row.attempts, last_status=None,
                last_error=_DIED, is_delivered=False,
            )
        )  # fmt: skip
        return None
    claimed = connection.execute(
        sa.update(webhooks)
        .where(is_unchanged)
        .values(attempts=row.attempts + 1, next_at=now + lease_seconds)
    )
    if claimed.rowcount == 0:
        return None
    return Claimed(
        job_id=job_id,
        url=row.url,
        host=row.host,
        secret=row.secret,
        delivery_id=row.delivery_id,
        event=row.event,
        event_at=row.event_at,
        body=row.body,
        attempt=row.attempts + 1,
    )


def keep_body(connection: sa.Connection, claimed: Claimed, body: str) -> None:
    """Store the body of the first attempt, so that all others send the same."""
    connection.execute(sa.update(webhooks).where(_is(claimed)).values(body=body))


def note(
    connection: sa.Connection, claimed: Claimed, delivery: Delivery, next_at: float | None
) -> bool:
    """Record the outcome of an attempt.

    Args:
        connection: a connection inside a transaction.
        claimed: the attempt.
        delivery: the result of the attempt.
        next_at: when the next attempt is due; None if there is none.

    Returns:
        Whether it counted: the job may be deleted or retried, or the lease may have expired.
    """
    noted = connection.execute(
        sa.update(webhooks)
        .where(_is(claimed))
        .values(
            next_at=next_at,
            last_at=delivery.at,
            last_attempt=delivery.attempt,
            last_status=delivery.status,
            last_error=delivery.error,
            is_delivered=delivery.is_delivered,
        )
    )
    return noted.rowcount > 0


def _is_due(now: float) -> sa.ColumnElement[bool]:
    # No attempt is due later: such a time was written before the clock was set back.
    return sa.or_(webhooks.c.next_at <= now, webhooks.c.next_at > now + _LONGEST_AHEAD_SECONDS)


def _is(claimed: Claimed) -> sa.ColumnElement[bool]:
    return sa.and_(
        webhooks.c.job_id == claimed.job_id,
        webhooks.c.delivery_id == claimed.delivery_id,
        webhooks.c.attempts == claimed.attempt,
    )
