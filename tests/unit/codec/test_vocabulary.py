import pytest

from mt3_model import spec
from mt3_model.codec.event import Event, EventRange, EventType
from mt3_model.codec.vocabulary import EventCodec, build_codec, tokens_before_end
from mt3_model.errors import CodecError

MT3 = build_codec(spec.MT3.vocabulary)
ISMIR2021 = build_codec(spec.ISMIR2021.vocabulary)


def test_mt3_has_the_published_sizes() -> None:
    # 1001 shifts + 128 pitches + 2 velocities + 1 tie + 128 programs + 128 drums = 1388
    assert MT3.num_events == 1388
    assert MT3.num_tokens == 1491  # + 3 specials + 100 extras
    assert MT3.embedding_size == 1536  # 12 * 128


def test_ismir2021_has_the_published_sizes() -> None:
    assert ISMIR2021.num_events == 1514  # 128 velocities in place of 2
    assert ISMIR2021.num_tokens == 1617
    assert ISMIR2021.embedding_size == 1664  # 13 * 128


@pytest.mark.parametrize("model", spec.MODELS.values(), ids=lambda model: model.name)
def test_embedding_size_is_that_of_every_published_network(model: spec.ModelSpec) -> None:
    assert build_codec(model.vocabulary).embedding_size == model.network.vocabulary_size


def test_mt3_types_lie_where_the_checkpoint_expects_them() -> None:
    tokens = {
        event_range.type: (
            MT3.event_to_token(Event(type=event_range.type, value=event_range.min_value)),
            MT3.event_to_token(Event(type=event_range.type, value=event_range.max_value)),
        )
        for event_range in MT3.event_ranges
    }
    assert tokens == {
        EventType.SHIFT: (3, 1003),
        EventType.PITCH: (1004, 1131),
        EventType.VELOCITY: (1132, 1133),
        EventType.TIE: (1134, 1134),
        EventType.PROGRAM: (1135, 1262),
        EventType.DRUM: (1263, 1390),
    }


def test_token_is_the_event_index_plus_the_special_tokens() -> None:
    middle_c = Event(type=EventType.PITCH, value=60)
    assert MT3.event_to_index(middle_c) == 1061
    assert MT3.event_to_token(middle_c) == 1064
    assert MT3.token_to_event(1064) == middle_c


@pytest.mark.parametrize("token", [-1, 0, 1, 2, 1391, 1490, 1535, 9999])
def test_tokens_that_are_not_events_decode_as_none(token: int) -> None:
    assert MT3.token_to_event(token) is None


@pytest.mark.parametrize("value", [-1, 128])
def test_event_outside_its_range_is_rejected_with_the_range(value: int) -> None:
    with pytest.raises(CodecError, match=r"pitch event has value .* expected 0 to 127"):
        MT3.event_to_index(Event(type=EventType.PITCH, value=value))


def test_tokens_end_before_the_first_end_token() -> None:
    assert tokens_before_end([1134, 1, 60, 1]) == [1134]
    assert tokens_before_end([1134, 60]) == [1134, 60]


def test_codec_without_shift_first_is_rejected() -> None:
    with pytest.raises(CodecError, match="shift first"):
        EventCodec(
            steps_per_second=100,
            event_ranges=(EventRange(type=EventType.PITCH, min_value=0, max_value=127),),
            extra_tokens=0,
        )


def test_type_that_the_codec_lacks_is_rejected() -> None:
    only_shift = EventCodec(
        steps_per_second=100,
        event_ranges=(EventRange(type=EventType.SHIFT, min_value=0, max_value=9),),
        extra_tokens=0,
    )
    with pytest.raises(CodecError, match="no drum events"):
        only_shift.event_to_index(Event(type=EventType.DRUM, value=36))
