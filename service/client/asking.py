"""One request -> its answer, over as many attempts as are worth making."""

import dataclasses

from service.client.errors import ConnectionFailedError, MT3ClientError, error_of_reply
from service.client.retries import FIRST_BOUND_SECONDS, Attempts, RetryPolicy, is_worth_retrying
from service.client.steps import Lost, Reply, Send, Steps, Wait, send

QUICK_SECONDS = 30.0
"""Silence after which a small question counts as unanswered; the server answers such at once,
whatever the device does, so that this is the network's and a gateway's."""
IDEMPOTENCY_KEY = "idempotency-key"
"""The header under which a request may be sent again without being done again."""
_WITHOUT_RECORDING = frozenset({"empty_body", "malformed_form"})
"""Codes that say no more than that a request has no recording."""


def answered(
    policy: RetryPolicy,
    attempts: Attempts,
    step: Send,
    *,
    bound_seconds: float = FIRST_BOUND_SECONDS,
) -> Steps[Reply]:
    """Sends until there is a success or nothing to be gained by another attempt.

    Args:
        policy: Gives today's date.
        attempts: Counted down.
        step: Its upload is sent again from its first byte, or not at all.
        bound_seconds: Of the first wait.

    Raises:
        ConnectionFailedError: The last attempt was not answered.
        APIError: The last attempt was refused.
    """
    while True:
        left = attempts.seconds_left()
        limits = [limit for limit in (step.read_timeout, left) if limit is not None]
        outcome = yield from _sent(
            dataclasses.replace(step, read_timeout=min(limits, default=None))
        )
        asked: float | None = None
        match outcome:
            case Reply() if outcome.is_success:
                return outcome
            case Reply():
                refusal = error_of_reply(outcome, now=policy.today())
                failure: MT3ClientError = refusal
                asked = refusal.retry_after
                may = is_worth_retrying(refusal.status, code=refusal.code, param=refusal.param)
            case Lost():
                failure = ConnectionFailedError(outcome.reason)
                may = outcome.may_try_again
        may = may and (step.upload is None or step.upload.may_be_sent)
        wait = attempts.next_wait(asked_seconds=asked, bound_seconds=bound_seconds) if may else None
        if wait is None:
            raise failure
        yield Wait(seconds=wait)


def question(path: str, query: tuple[tuple[str, str], ...] = ()) -> Send:
    """A small question, which changes nothing."""
    return Send(method="GET", path=path, query=query, read_timeout=QUICK_SECONDS)


def asked_once(policy: RetryPolicy, path: str) -> Steps[Reply]:
    """Asks, and does not try again.

    Raises:
        ConnectionFailedError: There was no answer.
        APIError: It was a refusal.
    """
    outcome = yield from send(question(path))
    if isinstance(outcome, Lost):
        raise ConnectionFailedError(outcome.reason)
    if not outcome.is_success:
        raise error_of_reply(outcome, now=policy.today())
    return outcome


def _sent(step: Send) -> Steps[Reply | Lost]:
    """Sends, and where an upload broke off asks whether it was refused.

    A server that refuses before the body is whole answers and closes, and what it has not read
    resets the connection: the answer may be lost on the way (asyncio drops what it has not read
    when a write fails). The same request without its recordings hears the same refusal of its key,
    its options or its time; that there is no recording is the answer to nothing else.
    """
    outcome = yield from send(step)
    body = step.upload
    if body is None or not isinstance(outcome, Lost) or not outcome.broke_off:
        return outcome
    if not body.holds_recordings:
        return outcome
    # Not under the key of the whole: it would then belong to another body.
    headers = {name: value for name, value in step.headers.items() if name != IDEMPOTENCY_KEY}
    again = yield from send(
        dataclasses.replace(
            step, upload=body.without_recordings(), headers=headers, streamed=False,
            read_timeout=QUICK_SECONDS,
        )
    )  # fmt: skip
    if isinstance(again, Lost) or again.is_success:
        return outcome
    if error_of_reply(again, now=0.0).code in _WITHOUT_RECORDING:
        size = "" if body.length is None else f" of {body.length:,} bytes"
        return dataclasses.replace(
            outcome, reason=f"{outcome.reason}, in an upload{size} (is it too large?)"
        )
    return again
