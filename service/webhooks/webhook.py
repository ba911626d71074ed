"""Data types of webhooks: where a job's end is reported, and the result of the last attempt."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewWebhook:
    """The webhook of a new job."""

    url: str
    """The URL, as `WebhookSender.check` accepted it."""
    secret: str | None = dataclasses.field(default=None, repr=False)
    """Signs what is sent; absent: the deployment's. Kept in the database for as long as the job."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One attempt to deliver a webhook."""

    at: float
    """When it ended. Seconds since 1970 (UTC)."""
    attempt: int
    """Which try it was of its event; from 1."""
    status: int | None
    """The receiver's HTTP status; absent: no response."""
    error: str | None
    """Why it is not delivered."""
    is_delivered: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A job's webhook and its last delivery. Never holds the secret."""

    url: str
    last_delivery: Delivery | None
