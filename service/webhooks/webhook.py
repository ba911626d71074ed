"""Data types of webhooks: where a job's end is reported, and the result of the last attempt."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewWebhook:
    """Whom to tell when a job has ended."""

    url: str
    """As `WebhookSender.check` took it."""
    secret: str | None = dataclasses.field(default=None, repr=False)
    """Signs what is sent; absent: the deployment's. Kept in the database for as long as the job."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One try to tell that a job has ended."""

    at: float
    """When it ended. Seconds since 1970 (UTC)."""
    attempt: int
    """Which try it was of its event; from 1."""
    status: int | None
    """What the receiver answered (HTTP); absent: nothing."""
    error: str | None
    """Why it is not delivered."""
    is_delivered: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """Whom a job tells when it has ended, and how that went. Never holds the secret."""

    url: str
    last_delivery: Delivery | None
