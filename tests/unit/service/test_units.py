"""Sizes and durations are read with common units."""

import pytest

from service.cli import build_parser
from service.units import parse_byte_rate, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000000", 10**6), ("1GB", 10**9), ("512MiB", 512 * 2**20), ("1 GiB", 2**30), ("2k", 2_000),
     ("1.5 GiB", 3 * 2**29), (" 16gib ", 2**34), ("1e9", 10**9)],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("1.5min", 90.0), ("2h", 7_200.0), ("7d", 604_800.0),
     ("7 days", 604_800.0), ("250ms", 0.25)],
)  # fmt: skip
def test_lengths_of_time(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "GB", "1XB", "-1", "1 2", "1_0", "0.5", "1h", "inf", "١"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a (whole )?number"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["", "s", "-1", "nan", "1:30", "1GB"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ValueError, match="expected a number"):
        parse_seconds(text)


def test_a_rate_may_have_a_fraction():
    assert parse_byte_rate("0.5") == 0.5
    assert parse_byte_rate("1kB") == 1_000.0


def test_options_take_units_and_say_what_they_expect(capsys):
    parser = build_parser()
    bulk = parser.parse_args(["bulk", "in", "out", "--object-store-bytes", "2GiB"])
    assert bulk.object_store_bytes == 2**31
    submit = parser.parse_args(["jobs", "submit", "a.wav", "--expires-in", "2h"])
    assert submit.expires_in == 7_200.0
    with pytest.raises(SystemExit):
        parser.parse_args(["jobs", "wait", "job_1", "--timeout", "soon"])
    assert "'soon': expected a number, with a unit like s, min, h, d" in capsys.readouterr().err
