"""A webhook as received -> what it says, once its signature is found right.

The server signs the time and the body: ``MT3-Signature: t=<seconds since 1970>,v1=<hex>``, where
the second is HMAC-SHA256, by the job's or the deployment's secret, of ``<t>.<body>``. The time
keeps an old delivery from being sent again by whoever saw it; deliveries of one event that are
repeated on purpose have the same ``MT3-Delivery``.
"""

import dataclasses
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime

from service.client.documents import parse_object, read_document
from service.client.errors import WebhookSignatureError
from service.client.jobs import Job

SIGNATURE_HEADER, DELIVERY_HEADER = "mt3-signature", "mt3-delivery"
SIGNATURE_VERSION = "v1"
MAX_SIGNATURES = 8
"""In one header: two while a secret is exchanged, and some to spare."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEvent:
    """A job has ended."""

    event: str
    """``job.succeeded``, ``job.failed`` or ``job.canceled``."""
    created_at: datetime
    job: Job
    """As it was then."""
    delivery: str = ""
    """The same for every attempt to tell this once: what was seen before can be passed over."""


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str,
    tolerance_seconds: float = 300.0,
    *,
    now: float | None = None,
) -> WebhookEvent:
    """Checks a webhook's signature, and reads it.

    Args:
        body: As received, byte for byte: not parsed and written again.
        headers: Of the request; their case does not matter.
        secret: What was given as ``webhook_secret``, or is the deployment's.
        tolerance_seconds: How old the signature may be; as much may its clock be ahead of ours.
        now: Seconds since 1970; absent: by this machine's clock.

    Raises:
        WebhookSignatureError: Not signed, by another secret, or not lately. Answer 400.
        UnexpectedAnswerError: Signed, and yet nothing that is known here.
        ValueError: The secret is empty, under which anybody could sign.
    """
    if not secret:
        raise ValueError("secret is empty; expected what the webhook is signed with")
    found = {name.lower(): value for name, value in headers.items()}
    told, signatures = _parse(found.get(SIGNATURE_HEADER, ""))
    expected = sign(body, secret, told)
    # Each is compared, and each in constant time.
    matches = [hmac.compare_digest(expected.encode(), given.encode()) for given in signatures]
    if not any(matches):
        raise WebhookSignatureError("the webhook is not signed with this secret, or was changed")
    age = (time.time() if now is None else now) - told
    if abs(age) > tolerance_seconds:
        raise WebhookSignatureError(
            f"the webhook was signed {age:.0f} s ago; expected {tolerance_seconds:g} s at most"
        )
    event = read_document(WebhookEvent, parse_object(body, what="the webhook"), where="the webhook")
    return dataclasses.replace(event, delivery=found.get(DELIVERY_HEADER, ""))


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """Computes the signature of a body at a time, in hexadecimal digits."""
    signed = f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _parse(header: str) -> tuple[int, list[str]]:
    """Reads time and signatures; names that are not known here are of later versions."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == SIGNATURE_VERSION]
    is_time = len(times) == 1 and times[0].isascii() and times[0].isdigit() and len(times[0]) < 16  # noqa: PLR2004
    if not is_time or not 0 < len(signatures) <= MAX_SIGNATURES:
        raise WebhookSignatureError(
            "the webhook has no header MT3-Signature of the form t=<seconds>,v1=<digits>"
        )
    return int(times[0]), signatures
