"""Data types of webhooks and of their last attempt."""

import dataclasses

SHORTEST_SECRET = 16
"""Characters. A secret must be long, because anyone who has seen one delivery can test guesses
against it."""
LONGEST_SECRET = 512


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewWebhook:
    """The webhook of a new job."""

    url: str
    """The URL, as `WebhookSender.check` accepted it."""
    secret: str | None = dataclasses.field(default=None, repr=False)
    """The secret that signs deliveries; None for the deployment's. Stored as long as the job."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One attempt to deliver a webhook."""

    at: float
    """Time of its end, seconds since 1970 (UTC)."""
    attempt: int
    """Number of the event's attempt, from 1."""
    status: int | None
    """The receiver's HTTP status; None without a response."""
    error: str | None
    """The reason for the failure."""
    is_delivered: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A job's webhook, without its secret, and its last delivery."""

    url: str
    last_delivery: Delivery | None
