"""The codec as a ``seqio.Vocabulary``, to evaluate or train with SeqIO and T5X.

It encodes event indices to tokens and decodes tokens to event indices. As in the original, the end
token decodes to -1, and tokens that are not events to -2 (Source: magenta/mt3 fa04532,
vocabularies.py ``GenericTokenVocabulary``). It needs the extra ``seqio``; the server never imports
it.
"""

from collections.abc import Sequence
from typing import Any

import seqio  # pyright: ignore[reportMissingImports]  # an extra, in an environment of its own
import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]  # the same

from mt3_model.codec.vocabulary import (
    END_TOKEN,
    SPECIAL_TOKENS,
    UNKNOWN_TOKEN,
    EventCodec,
    build_codec,
)
from mt3_model.errors import CodecError
from mt3_model.spec import VocabularySpec

DECODED_END = -1
"""The decoded end token. Source: vocabularies.py ``DECODED_EOS_ID``."""
DECODED_INVALID = -2
"""The decoded pad, unknown and extra tokens. Source: vocabularies.py ``DECODED_INVALID_ID``."""


class EventVocabulary(seqio.Vocabulary):  # pyright: ignore[reportUntypedBaseClass]
    """Converts event indices to tokens and back, with SeqIO's interface."""

    def __init__(self, spec: VocabularySpec) -> None:
        self._codec = build_codec(spec)
        super().__init__(extra_ids=spec.extra_tokens)

    @property
    def codec(self) -> EventCodec:
        """The codec that defines the events."""
        return self._codec

    @property
    def eos_id(self) -> int:
        """The end token."""
        return END_TOKEN

    @property
    def unk_id(self) -> int:
        """The unknown token; SeqIO replaces extra tokens by it before decoding."""
        return UNKNOWN_TOKEN

    @property
    def _base_vocab_size(self) -> int:
        return SPECIAL_TOKENS + self._codec.num_events

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventVocabulary) and self._codec == other.codec

    def __hash__(self) -> int:
        return hash(self._codec)

    def _encode(self, s: Sequence[int]) -> list[int]:
        outside = [index for index in s if not 0 <= index < self._codec.num_events]
        if outside:
            raise CodecError(
                f"event index is {outside[0]}; expected 0 to {self._codec.num_events - 1}"
            )
        return [int(index) + SPECIAL_TOKENS for index in s]

    def _decode(self, ids: Sequence[int]) -> list[int]:
        return [self._decode_token(int(token)) for token in ids]

    def _decode_token(self, token: int) -> int:
        if token == END_TOKEN:
            return DECODED_END
        if SPECIAL_TOKENS <= token < self._base_vocab_size:
            return token - SPECIAL_TOKENS
        return DECODED_INVALID

    def _encode_tf(self, s: Any) -> Any:
        with tf.control_dependencies(
            [
                tf.debugging.assert_non_negative(s),
                tf.debugging.assert_less(s, tf.cast(self._codec.num_events, s.dtype)),
            ]
        ):
            return s + SPECIAL_TOKENS

    def _decode_tf(self, ids: Any) -> Any:
        ended = tf.cumsum(tf.cast(tf.equal(ids, END_TOKEN), tf.int32), axis=-1) > 0
        is_event = (ids >= SPECIAL_TOKENS) & (ids < self._base_vocab_size)
        indices = tf.where(is_event, ids - SPECIAL_TOKENS, DECODED_INVALID)
        return tf.where(ended, DECODED_END, indices)
