"""The option `instruments`: names, numbers and families."""

import pytest

from mt3_model.errors import OptionError
from mt3_model.notes.instruments_option import NamedInstruments, parse_instruments


def named(programs=(), families=(), *, has_drums=False):
    return NamedInstruments(programs=programs, families=families, has_drums=has_drums)


@pytest.mark.parametrize(
    ("names", "instruments"),
    [
        (("0",), named((0,))),
        (("127", "0"), named((0, 127))),
        (("Violin",), named((40,))),
        (("ACOUSTIC guitar nylon",), named((24,))),
        (("Acoustic Guitar (nylon)",), named((24,))),
        (("piano",), named(families=(0,))),
        (("synth lead, Strings",), named(families=(5, 10))),
        (("drums",), named(has_drums=True)),
        (("piano,Drums", " 33 ", "33"), named((33,), (0,), has_drums=True)),
    ],
)
def test_names_of_all_kinds_are_read(names, instruments):
    assert parse_instruments(names) == instruments


def test_without_names_every_instrument_is_possible():
    assert parse_instruments(()) is None


def test_a_family_allows_its_eight_programs_beside_those_named_alone():
    instruments = parse_instruments(("bass", "0"))
    assert instruments is not None
    assert instruments.allowed_programs == {0, *range(32, 40)}


@pytest.mark.parametrize("name", ["128", "-1", "1.5", "١", "kazoo", "0x1", "1_0"])
def test_an_unknown_name_is_refused_with_what_was_expected(name):
    with pytest.raises(
        OptionError, match=r"0 to 127.*piano, .*, sound effects.* or drums"
    ) as error:
        parse_instruments(("piano", name))
    assert error.value.parameter == "instruments"
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("violn", "Violin"),
        ("guitars", "guitar"),
        ("drum", "drums"),
        ("saxophone", "Soprano Sax"),
        ("choir", "Choir Aahs"),
    ],
)
def test_a_near_miss_is_suggested(name, suggestion):
    with pytest.raises(OptionError, match=rf"did you mean .*{suggestion}"):
        parse_instruments((name,))


@pytest.mark.parametrize("names", [("",), (",",), (" , ", "")])
def test_names_of_nothing_are_refused(names):
    with pytest.raises(OptionError, match="0 names; expected 1 to 200"):
        parse_instruments(names)
