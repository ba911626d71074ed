"""The valid options of `mt3 benchmark`."""

import argparse
import pathlib

import pytest

from mt3_model.errors import OptionError
from service.benchmark.plan import add_benchmark_options, make_plan


def plan(*arguments):
    parser = argparse.ArgumentParser()
    add_benchmark_options(parser)
    parsed = parser.parse_args(arguments)
    return make_plan(parsed, parsed.recordings)


def test_nothing_given_is_a_plan():
    asked = plan()
    assert asked.recordings == ()
    assert asked.concurrency == (1, 4, 16, 64)
    assert asked.rounds == 1
    assert asked.decoding == "greedy"


def test_everything_given_is_taken():
    asked = plan("a.mp3", "b.wav", "--seconds", "2.5", "--concurrency", "3, 1", "--rounds", "2")
    assert asked.recordings == (pathlib.Path("a.mp3"), pathlib.Path("b.wav"))
    assert asked.concurrency == (3, 1)
    assert asked.rounds == 2
    assert asked.seconds_on("gpu") == 2.5


def test_an_accelerator_is_given_more_to_do():
    assert plan().seconds_on("cpu") == 10
    assert plan().seconds_on("gpu") == plan().seconds_on("tpu") == 60


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seconds", "0"),
        ("--seconds", "-1"),
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--rounds", "0"),
        ("--concurrency", ""),
        ("--concurrency", "1,,4"),
        ("--concurrency", "0"),
        ("--concurrency", "four"),
        ("--concurrency", "1;4"),
        ("--concurrency", "²"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_options_name(option, value):
    with pytest.raises(OptionError, match=option):
        plan(f"{option}={value}")
