"""Numbers in options, for HTTP and the command line."""

import argparse
import json
import re
from pathlib import Path

import pytest

from service.cli import main
from service.commands.shared_options import parse_time, whole_number
from service.numbers import parse_decimal, parse_integer
from service.schemas.job_request import JobRequest

OTHERS = (
    "1_0",
    "\u0663",
    "\uff13",
    "1e1",
    " 10",
    "10 ",
    "nan",
    "inf",
    "0x10",
    "+5",
    "--1",
    "",
    ".",
)


@pytest.mark.parametrize("text", OTHERS)
def test_nothing_but_plain_digits_is_a_number(text):
    assert parse_decimal(text) is None
    assert parse_integer(text) is None
    for parse in (parse_time, whole_number):
        with pytest.raises(argparse.ArgumentTypeError):
            parse(text)


def test_a_minus_is_for_the_check_of_the_range_to_refuse():
    assert parse_decimal("-1") is parse_integer("-1") is None
    assert (parse_time("-1.5"), whole_number("-1")) == (-1.5, -1)
    assert main(["jobs", "list", "--limit", "-1"]) == 2


def test_plain_numbers_are_read():
    assert [parse_decimal(text) for text in ("0", "90", "1.5", ".5", "1.")] == [0, 90, 1.5, 0.5, 1]
    assert parse_integer("007") == 7
    assert parse_decimal("9" * 5_000) is None
    assert parse_time("1:30.5") == 90.5


def test_the_readmes_job_in_json_is_one():
    readme = Path(__file__).parents[3] / "service" / "api" / "README.md"
    (body,) = re.findall(r"-d '({.*})'", readme.read_text(encoding="utf-8"))
    asked = JobRequest.model_validate(json.loads(body))
    assert asked.webhook is not None
