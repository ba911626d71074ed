"""Verify a webhook's signature, and read the event.

The server signs the time and the body: ``MT3-Signature: t=<seconds since 1970>,v1=<hex>``, where
``v1`` is the HMAC-SHA256 of ``<t>.<body>`` with the job's or the deployment's secret. The time
prevents replays of an old delivery; repeated deliveries of one event have the same
``MT3-Delivery``.
"""

import dataclasses
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime

from service.client._errors import WebhookSignatureError
from service.client._job_models import Job
from service.client._json import parse_document

SIGNATURE_HEADER, DELIVERY_HEADER = "mt3-signature", "mt3-delivery"
SIGNATURE_VERSION = "v1"
MAX_SIGNATURES = 8
"""Limit of signatures in one header; there are two while a secret is being replaced."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEvent:
    """The event that a job has ended."""

    event: str
    """``job.succeeded``, ``job.failed`` or ``job.canceled``."""
    created_at: datetime
    job: Job
    """The job as it was at this time."""
    delivery: str = ""
    """Id of the delivery, the same at every attempt: a known one can be ignored."""


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str,
    tolerance_seconds: float = 300.0,
    *,
    now: float | None = None,
) -> WebhookEvent:
    """Verify a webhook's signature, and return its event.

    Args:
        body: the request's body, byte for byte as received.
        headers: the request's headers; their case does not matter.
        secret: the ``webhook_secret`` of the job, or the deployment's secret.
        tolerance_seconds: largest accepted age of the signature, also into the future.
        now: seconds since 1970; None: this machine's clock.

    Raises:
        WebhookSignatureError: the signature is missing, wrong, or too old. Respond with 400.
        UnexpectedAnswerError: the signature is right, but the body is not a webhook of this API.
        ValueError: the secret is empty, so anyone could sign with it.
    """
    if not secret:
        raise ValueError("secret is empty; expected the secret with which the webhook is signed")
    lower = {name.lower(): value for name, value in headers.items()}
    signed_at, signatures = _parse(lower.get(SIGNATURE_HEADER, ""))
    expected = sign(body, secret, signed_at).encode()
    # All signatures are compared, each in constant time.
    matches = [hmac.compare_digest(expected, given.encode()) for given in signatures]
    if not any(matches):
        raise WebhookSignatureError("the webhook is not signed with this secret, or was changed")
    age = (time.time() if now is None else now) - signed_at
    if abs(age) > tolerance_seconds:
        raise WebhookSignatureError(
            f"the webhook was signed {age:.0f} s ago; expected {tolerance_seconds:g} s at most"
        )
    event = parse_document(WebhookEvent, body, what="the webhook")
    return dataclasses.replace(event, delivery=lower.get(DELIVERY_HEADER, ""))


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """Return the signature of a body at a time (seconds since 1970), in hexadecimal digits."""
    signed = f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _parse(header: str) -> tuple[int, list[str]]:
    """Read the time and the signatures; names of later versions are ignored."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == SIGNATURE_VERSION]
    is_time = len(times) == 1 and times[0].isascii() and times[0].isdigit() and len(times[0]) < 16  # noqa: PLR2004
    if not is_time or not 0 < len(signatures) <= MAX_SIGNATURES:
        raise WebhookSignatureError(
            "the webhook has no header MT3-Signature of the form t=<seconds>,v1=<digits>"
        )
    return int(times[0]), signatures
