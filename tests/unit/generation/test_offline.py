"""Batches through the verbs against generation without a cache, and against themselves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.generation.offline import SegmentGenerator
from mt3_model.generation.state import empty_state
from mt3_model.generation.steps import Steps
from tests.unit.generation.tiny_model import (
    TINY,
    by_brute_force,
    random_parameters,
    random_segments,
)


def tokens_of(generated):
    return [segment.tokens.tolist() for segment in generated]


@pytest.mark.parametrize(
    ("seed", "lengths"), [(3, [14, 41, 28]), (6, [200, 145, 52]), (11, [10, 16, 200])]
)
def test_cached_generation_equals_the_whole_prefix_through_the_network(seed, lengths):
    """The lengths cross the first column bucket (128) and stay within it, end and do not end."""
    parameters = random_parameters(seed)
    segments = random_segments(3, seed)
    generated = SegmentGenerator(TINY, parameters, batch_size=4).generate(segments, "greedy")
    assert [len(tokens) for tokens in tokens_of(generated)] == lengths
    assert tokens_of(generated) == [by_brute_force(parameters, s) for s in segments]


@pytest.mark.parametrize("rule", ["greedy", "reference"])
def test_a_segment_does_not_depend_on_what_shares_its_batch(rule):
    generator = SegmentGenerator(TINY, random_parameters(6), batch_size=4)
    segments = random_segments(4)
    together = tokens_of(generator.generate(segments, rule))
    alone = [tokens_of(generator.generate([segment], rule))[0] for segment in segments]
    reversed_ = tokens_of(generator.generate(segments[::-1], rule))[::-1]
    assert together == alone == reversed_


def test_log_probabilities_stand_beside_each_token():
    generator = SegmentGenerator(TINY, random_parameters(6), batch_size=2)
    for generated in generator.generate(random_segments(2), "greedy"):
        assert generated.log_probabilities.shape == generated.tokens.shape
        assert (generated.log_probabilities <= 0).all()
        assert np.isfinite(generated.log_probabilities).all()


@pytest.mark.parametrize("count", [0, 3])
def test_more_segments_than_slots_or_none_are_refused(count):
    generator = SegmentGenerator(TINY, random_parameters(6), batch_size=2)
    with pytest.raises(ValueError, match=f"got {count} segments; expected 1 to 2"):
        generator.generate(random_segments(count), "greedy")


def test_step_updates_its_caches_in_place():
    """The donated caches come back in the buffers that went in: nothing is copied."""
    steps = Steps(spec=TINY)
    parameters = random_parameters(6)
    state = empty_state(TINY, 2, 128, jnp.float32)
    state = dataclasses.replace(state, live=jnp.ones(2, bool))
    before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.cache)]
    after = steps.step(parameters, state, 5, "greedy")
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(after.cache)]
    assert pointers == before


def test_resizing_keeps_what_is_written():
    steps = Steps(spec=TINY)
    state = empty_state(TINY, 2, 128, jnp.float32)
    state = dataclasses.replace(state, live=jnp.ones(2, bool))
    state = steps.step(random_parameters(6), state, 9, "greedy")
    grown = steps.resize(state, 256)
    assert grown.columns == 256
    back = steps.resize(grown, 128)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(a, b)
