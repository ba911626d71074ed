"""Webhooks are accepted only with a recent signature by this secret."""

import json

import pytest

from service.client import (
    MT3ClientError,
    UnexpectedAnswerError,
    WebhookSignatureError,
    verify_webhook,
)
from service.client._webhooks import sign
from service.webhooks import sender as sending
from tests.unit.service.client.job_server import job

SECRET, NOW = "whsec_0123456789abcdef", 1_795_000_000
BODY = json.dumps(
    {"event": "job.succeeded", "created_at": "2026-11-21T07:30:00.000Z", "job": job()}
).encode()


def headers(body=BODY, secret=SECRET, at=NOW):
    return {"MT3-Signature": f"t={at},v1={sign(body, secret, at)}", "MT3-Delivery": "d-1"}


def test_a_signature_is_that_of_the_scheme():
    # By hand: printf '1700000000.{"event":"job.succeeded"}' | openssl dgst -sha256 -hmac secret
    expected = "b9470cb45cf366a41d6c0cffb51f5d60a75c7f147ba2e893ded86ee350ee0c5e"
    assert sign(b'{"event":"job.succeeded"}', "secret", 1_700_000_000) == expected


def test_the_example_of_the_jobs_chapter_is_ours_too():
    body = b'{"event":"job.succeeded","created_at":"2026-11-21T12:00:00.000Z","job":{}}'
    expected = "658e1f044bc52865556b5b429b83a55cbe18937be6068239947aceb8377e7686"
    assert sign(body, "whsec_0123456789abcdef", 1_795_262_400) == expected


def test_what_the_server_signs_is_believed():
    given = {"mt3-signature": sending.sign(SECRET, NOW, BODY), "mt3-delivery": "d-1"}
    event = verify_webhook(BODY, given, SECRET, now=NOW)
    assert (event.event, event.delivery, event.job.id) == ("job.succeeded", "d-1", job()["id"])
    assert event.created_at.year == 2026


@pytest.mark.parametrize("age", [0, 299, -299])
def test_a_signature_is_good_for_a_while(age):
    assert verify_webhook(BODY, headers(), SECRET, now=NOW + age).job.status == "queued"


@pytest.mark.parametrize("age", [301, -301, 10**9])
def test_an_old_or_early_one_is_refused(age):
    with pytest.raises(WebhookSignatureError, match=r"signed .* s ago; expected 300 s at most"):
        verify_webhook(BODY, headers(), SECRET, now=NOW + age)
    assert verify_webhook(BODY, headers(), SECRET, tolerance_seconds=2e9, now=NOW + age)


def test_this_machines_clock_counts_where_none_is_given():
    with pytest.raises(WebhookSignatureError, match="ago"):
        verify_webhook(BODY, headers(at=1), SECRET)


def test_another_secret_body_or_time_is_refused():
    moved = headers()["MT3-Signature"].replace(f"t={NOW}", f"t={NOW + 1}")
    for body, given in (
        (BODY, headers(secret="another")),
        (BODY + b" ", headers()),
        (BODY, {"MT3-Signature": moved}),
        (BODY, {"MT3-Signature": headers()["MT3-Signature"][:-1]}),
    ):
        with pytest.raises(WebhookSignatureError, match="not signed with this secret"):
            verify_webhook(body, given, SECRET, now=NOW)


def test_one_of_several_signatures_is_enough_while_a_secret_is_exchanged():
    given = headers()["MT3-Signature"]
    both = {"MT3-Signature": given.replace(",v1=", f",v1={'0' * 64}, v0=old, v1=")}
    assert verify_webhook(BODY, both, SECRET, now=NOW)


@pytest.mark.parametrize(
    "value",
    [
        "", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=00", "t=-1,v1=00", f"t={'9' * 5_000},v1=0",
        "t=1" + ",v1=0" * 9, "t=²,v1=0", "t=,v1=0",
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(value):
    with pytest.raises(WebhookSignatureError, match="no header MT3-Signature"):
        verify_webhook(BODY, {"MT3-Signature": value}, SECRET, now=NOW)


def test_a_signature_that_is_no_text_of_digits_is_refused():
    with pytest.raises(WebhookSignatureError):
        verify_webhook(BODY, {"MT3-Signature": f"t={NOW},v1=é"}, SECRET, now=NOW)


def test_without_a_header_or_a_secret_nothing_is_believed():
    with pytest.raises(WebhookSignatureError):
        verify_webhook(BODY, {}, SECRET)
    with pytest.raises(ValueError, match="secret is empty"):
        verify_webhook(BODY, headers(secret=""), "", now=NOW)
    assert issubclass(WebhookSignatureError, MT3ClientError)


def test_what_is_signed_and_not_understood_is_told():
    with pytest.raises(UnexpectedAnswerError):
        verify_webhook(b"[]", headers(b"[]"), SECRET, now=NOW)
