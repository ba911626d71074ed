"""A library that repeats its messages logs few of them, and how many were left out."""

import logging

from service.observability.repetition import RepetitionFilter


def record(created, line=1):
    found = logging.LogRecord("dbos", logging.WARNING, "queue.py", line, "no database", None, None)
    found.created = created
    return found


def test_repetitions_are_left_out_until_the_period_ends():
    repetitions = RepetitionFilter(10.0)
    passed = [at for at in (0.0, 0.1, 9.9, 10.0, 10.1, 20.5) if repetitions.filter(record(at))]
    assert passed == [0.0, 10.0, 20.5]


def test_messages_of_other_lines_of_code_pass():
    repetitions = RepetitionFilter(10.0)
    assert repetitions.filter(record(0.0, line=1))
    assert repetitions.filter(record(0.1, line=2))
    assert not repetitions.filter(record(0.2, line=2))


def test_the_next_message_says_how_many_were_left_out():
    repetitions = RepetitionFilter(10.0)
    for at in (0.0, 1.0, 2.0):
        repetitions.filter(record(at))
    following = record(10.0)
    assert repetitions.filter(following)
    assert following.event_fields == {"repetitions_left_out": 2}


def test_a_clock_that_is_set_back_silences_nothing():
    repetitions = RepetitionFilter(10.0)
    assert repetitions.filter(record(1_000.0))
    assert repetitions.filter(record(0.0))
