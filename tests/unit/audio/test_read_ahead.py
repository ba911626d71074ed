"""A thread computes the next items, and neither their order nor their errors change."""

import threading

import pytest

from mt3_model.audio.read_ahead import read_ahead


def test_items_and_then_the_error_arrive_in_order():
    def items():
        yield from range(20)
        raise LookupError("no more")

    found = []
    with pytest.raises(LookupError, match="no more"):
        found.extend(read_ahead(items(), most=3))
    assert found == list(range(20))
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}


def test_items_are_computed_while_the_caller_works():
    computed = threading.Event()

    def items():
        yield 1
        computed.set()
        yield 2

    ahead = read_ahead(items(), most=1)
    assert next(ahead) == 1
    assert computed.wait(60)
    assert list(ahead) == [2]


def test_only_a_few_items_wait():
    taken, most_ahead = 0, 0

    def items():
        nonlocal most_ahead
        for number in range(200):
            most_ahead = max(most_ahead, number - taken)
            yield number

    for _ in read_ahead(items(), most=3):
        taken += 1
    # Three wait, one is in the caller's hands, and one is in the making.
    assert most_ahead <= 5


def test_closing_early_closes_the_generator_and_ends_the_thread():
    closed_in = []

    def items():
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    ahead = read_ahead(items(), most=3)
    next(ahead)
    ahead.close()
    assert closed_in == ["read-ahead"]
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}
