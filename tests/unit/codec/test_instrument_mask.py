"""The tokens that are forbidden when the caller names the instruments."""

import pytest

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.instrument_mask import forbid_other_instruments
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.spec import MODELS, MT3


def forbidden_values(mask, event_type):
    codec = build_codec(MT3.vocabulary)
    return {
        event.value
        for token in mask.nonzero()[0].tolist()
        if (event := codec.token_to_event(token)) is not None and event.type is event_type
    }


def test_other_programs_and_drums_are_forbidden():
    mask = forbid_other_instruments(MT3.vocabulary, programs=frozenset({0, 33}), has_drums=False)
    assert forbidden_values(mask, EventType.PROGRAM) == set(range(128)) - {0, 33}
    assert forbidden_values(mask, EventType.DRUM) == set(range(128))
    assert forbidden_values(mask, EventType.PITCH) == set()


def test_drums_alone_leave_no_pitch_and_no_note_off():
    mask = forbid_other_instruments(MT3.vocabulary, programs=frozenset(), has_drums=True)
    assert forbidden_values(mask, EventType.PROGRAM) == set(range(128))
    assert forbidden_values(mask, EventType.PITCH) == set(range(128))
    assert forbidden_values(mask, EventType.VELOCITY) == {0}
    assert forbidden_values(mask, EventType.DRUM) == set()


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("programs", [frozenset(), frozenset({5})])
@pytest.mark.parametrize("has_drums", [False, True])
def test_the_end_and_every_shift_and_tie_stay_possible(spec, programs, has_drums):
    mask = forbid_other_instruments(spec.vocabulary, programs=programs, has_drums=has_drums)
    codec = build_codec(spec.vocabulary)
    assert mask.shape == (spec.network.vocabulary_size,)
    assert not mask[END_TOKEN]
    for event in (
        Event(type=EventType.SHIFT, value=0),
        Event(type=EventType.SHIFT, value=spec.vocabulary.max_shift_steps),
        Event(type=EventType.TIE, value=0),
    ):
        assert not mask[codec.event_to_token(event)]
