"""The number of retries and their waits, worked by hand."""

import email.utils

import pytest

from service.client._retries import RetryPolicy, is_retryable, parse_retry_after


def attempts(*, max_retries=9, budget_seconds=None, drawn=1.0, clock=lambda: 0.0):
    return RetryPolicy(
        max_retries=max_retries, budget_seconds=budget_seconds, random=lambda: drawn, clock=clock,
        now=lambda: 0.0,
    ).attempts()  # fmt: skip


def test_bounds_double_up_to_half_a_minute():
    a = attempts()
    waits = [a.next_wait() for _ in range(10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, None]


def test_waits_are_drawn_from_the_whole_of_their_bound():
    assert attempts(drawn=0.0).next_wait() == 0.0
    assert attempts(drawn=0.25).next_wait() == 0.125


def test_what_the_server_asks_is_the_least():
    assert attempts(drawn=0.0).next_wait(retry_after=7) == 7
    assert attempts(drawn=1.0).next_wait(retry_after=7) == 7.5
    assert attempts(drawn=1.0).next_wait(retry_after=0) == 0.5


def test_a_wait_beyond_the_budget_is_none():
    now = [0.0]
    a = attempts(budget_seconds=10, drawn=0.0, clock=lambda: now[0])
    assert a.next_wait(retry_after=9.9) == 9.9
    assert a.next_wait(retry_after=10) is None
    now[0] = 4.0
    assert a.seconds_left() == 6.0
    assert a.next_wait(retry_after=6) is None
    now[0] = 11.0
    assert a.seconds_left() == 0.0
    assert a.next_wait() is None


def test_progress_begins_anew():
    a = attempts(max_retries=1)
    assert a.next_wait() == 0.5
    assert a.next_wait() is None
    a.restart()
    assert a.next_wait() == 0.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("0", 0.0),
        (" 120 ", 120.0), ("9" * 400, 86_400.0), ("²", None),
        (email.utils.formatdate(1_000_000_030, usegmt=True), 30.0),
        (email.utils.formatdate(999_000_000, usegmt=True), 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ],
)  # fmt: skip
def test_retry_after(value, seconds):
    assert parse_retry_after(value, now=1_000_000_000) == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 501, 507])
def test_most_refusals_are_final(status):
    assert not is_retryable(status, code="x", param=None)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_some_pass_unless_the_request_is_at_fault(status):
    assert is_retryable(status, code="overloaded", param=None)
    assert not is_retryable(status, code="audio_empty", param=None)
    assert not is_retryable(status, code="x", param="start")
