"""Properties of options: any input gives a response within the contract or a refusal."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.accept import ACCEPTED_TYPES, choose_format
from service.api.transcription_request import parse_request
from service.errors import NotAcceptableError, ServiceError
from service.schemas.transcription_options import OPTION_NAMES
from tests.examples import examples

values = st.one_of(
    st.text(max_size=30),
    st.floats().map(str),
    st.sampled_from(["mt3", "true", "false", "greedy", "reference", "auto", "float32", "١", "1_0"]),
    st.sampled_from([form.value for form in ExportFormat]),
)
names = st.one_of(st.sampled_from(OPTION_NAMES), st.text(max_size=20))
media_types = st.one_of(
    st.sampled_from([*ACCEPTED_TYPES, "*/*", "audio/*", "image/*", "text/html"]),
    st.text(max_size=10),
)
qualities = st.one_of(
    st.floats().map(lambda value: f";q={value}"), st.sampled_from(["", ";q=", ";level=1", ";Q=0.5"])
)
accepts = st.lists(st.builds(str.__add__, media_types, qualities), max_size=5).map(",".join)
many = settings(max_examples=examples(300), derandomize=True)


@many
@given(pairs=st.lists(st.tuples(names, values), max_size=6), accept=st.none() | accepts)
def test_any_options_give_a_request_within_the_contract_or_a_refusal(pairs, accept):
    with contextlib.suppress(OptionError, ServiceError):
        asked = parse_request(pairs, accept=accept, served_model="mt3")
        assert 0 <= asked.options.start <= 1e6
        assert asked.options.end is None or asked.options.start < asked.options.end <= 1e6
        assert asked.options.model == "mt3"
        assert isinstance(asked.response_format, ExportFormat)


@many
@given(name=st.text(max_size=20).filter(lambda name: name not in OPTION_NAMES), value=values)
def test_an_unknown_option_is_named_in_its_refusal(name, value):
    with pytest.raises(OptionError) as refusal:
        parse_request([(name, value)], accept=None, served_model="mt3")
    assert refusal.value.parameter == name


@many
@given(accept=st.one_of(accepts, st.text(max_size=60)))
def test_any_accept_gives_a_form_or_a_refusal(accept):
    with contextlib.suppress(NotAcceptableError):
        assert isinstance(choose_format(accept), ExportFormat)


@many
@given(order=st.permutations(["image/png;q=0.3", "audio/midi;q=0.8", "text/html", "*/*;q=0.1"]))
def test_the_order_within_accept_does_not_matter(order):
    assert choose_format(", ".join(order)) is ExportFormat.MIDI
