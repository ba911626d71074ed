"""Options of tempo and bars: read, or refused with what was found and what is expected."""

import pytest

from mt3_model.errors import OptionError
from mt3_model.notes.rhythm_options import (
    GRIDS,
    parse_quantize,
    parse_tempo,
    parse_time_signature,
    read_known_rhythm,
)


@pytest.mark.parametrize(
    ("text", "tempo"),
    [("120", 120.0), ("87.5", 87.5), ("20", 20.0), ("400", 400.0), ("half", "half"),
     ("double", "double")],
)  # fmt: skip
def test_tempi_are_read(text, tempo):
    assert parse_tempo(text) == tempo


@pytest.mark.parametrize("text", ["", "0", "19.9", "401", "-90", "1e2", "nan", "fast", "٩٠", "1_0"])
def test_other_tempi_are_refused(text):
    with pytest.raises(OptionError, match=r"tempo is .*; expected beats per minute from 20 to 400"):
        parse_tempo(text)


@pytest.mark.parametrize(("text", "pair"), [("3/4", (3, 4)), ("12/8", (12, 8)), ("2/2", (2, 2))])
def test_time_signatures_are_read(text, pair):
    signature = parse_time_signature(text)
    assert (signature.numerator, signature.denominator) == pair


@pytest.mark.parametrize("text", ["", "3", "0/4", "17/4", "3/5", "3/16", "3 / 4", "C"])
def test_other_time_signatures_are_refused(text):
    with pytest.raises(OptionError, match=r"time_signature is .*; expected 1 to 16, a slash"):
        parse_time_signature(text)


def test_grids_are_read_and_others_refused():
    assert {name: parse_quantize(name) for name in GRIDS} == GRIDS
    assert parse_quantize("none") is None
    with pytest.raises(OptionError, match=r"quantize is '1/5'; expected none, 1/4, .* or 1/32"):
        parse_quantize("1/5")


def test_a_long_value_is_shown_in_part():
    with pytest.raises(OptionError) as refused:
        parse_tempo("9" * 1000)
    assert len(str(refused.value)) < 200


def test_nothing_named_is_nothing_known():
    known = read_known_rhythm(None, None, None)
    assert (known.tempo, known.time_signature, known.first_downbeat) == (None, None, None)
