"""The SeqIO vocabulary agrees with the codec."""

import json
import pathlib

import pytest
import seqio
import tensorflow as tf

from mt3_model import spec
from mt3_model.codec.vocabulary import PAD_TOKEN, SPECIAL_TOKENS, build_codec
from mt3_model.errors import CodecError
from mt3_model.seqio_tasks.vocabulary import DECODED_END, DECODED_INVALID, EventVocabulary

pytestmark = pytest.mark.seqio

CODEC = build_codec(spec.MT3.vocabulary)
VOCABULARY = EventVocabulary(spec.MT3.vocabulary)
SEGMENT = [0, 1, 2, 3, 1064, 1390, 1391, 1490, 1134, 1, 1064, 0]


@pytest.mark.parametrize(
    ("model", "size"), [(spec.MT3, 1491), (spec.ISMIR2021, 1617)], ids=["mt3", "ismir2021"]
)
def test_size_is_that_before_the_rounding(model: spec.ModelSpec, size: int) -> None:
    assert EventVocabulary(model.vocabulary).vocab_size == size


def test_special_tokens_are_those_of_seqio() -> None:
    assert (VOCABULARY.pad_id, VOCABULARY.eos_id, VOCABULARY.unk_id) == (seqio.PAD_ID, 1, 2)
    assert VOCABULARY.pad_id == PAD_TOKEN
    assert VOCABULARY.extra_ids == 100


def test_every_event_index_has_the_codecs_token() -> None:
    indices = list(range(CODEC.num_events))
    tokens = [index + SPECIAL_TOKENS for index in indices]
    assert VOCABULARY.encode(indices) == tokens
    assert VOCABULARY.encode_tf(tf.constant(indices)).numpy().tolist() == tokens
    assert VOCABULARY.decode(tokens) == indices
    assert VOCABULARY.decode_tf(tf.constant(tokens)).numpy().tolist() == indices


def test_decoding_ends_at_the_end_token() -> None:
    assert VOCABULARY.decode(SEGMENT[3:]) == [
        0,
        1061,
        1387,
        DECODED_INVALID,
        DECODED_INVALID,
        1131,
        DECODED_END,
    ]


def test_decoding_in_tensorflow_marks_everything_after_the_end() -> None:
    decoded = VOCABULARY.decode_tf(tf.constant(SEGMENT[3:])).numpy().tolist()
    assert decoded == [*VOCABULARY.decode(SEGMENT[3:]), DECODED_END, DECODED_END]


def test_specials_decode_as_invalid() -> None:
    assert VOCABULARY.decode([0, 2, 1490]) == [DECODED_INVALID] * 3


@pytest.mark.parametrize("index", [-1, 1388])
def test_index_outside_is_rejected(index: int) -> None:
    with pytest.raises(CodecError, match="expected 0 to 1387"):
        VOCABULARY.encode([index])
    with pytest.raises(tf.errors.InvalidArgumentError):
        VOCABULARY.encode_tf(tf.constant([index]))


def test_vocabularies_of_one_spec_are_equal() -> None:
    assert EventVocabulary(spec.MT3.vocabulary) == VOCABULARY
    assert EventVocabulary(spec.ISMIR2021.vocabulary) != VOCABULARY


@pytest.mark.shared
def test_golden_tokens_decode_to_the_codecs_event_indices(shared_folder: pathlib.Path) -> None:
    golden = json.loads((shared_folder / "golden" / "mixed.json").read_text())
    for segment in golden["decodings"]["beam1"]["segments"]:
        decoded = VOCABULARY.decode(segment["tokens"])
        assert decoded[-1] == DECODED_END
        assert VOCABULARY.encode(decoded[:-1]) == segment["tokens"][:-1]
