"""Numbers that are none: seen at once, and nothing to the segments beside or after them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.generation import selection
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.generated import SlotEntry
from tests.unit.generation.tiny_model import TINY, random_parameters, random_segments

pytestmark = pytest.mark.slow


SHAPES = SlotShapes(rows=(4,), encode_batches=(4,), iteration_steps=16)
"""One bucket of rows, so that all comparisons are exact."""


def make_pool(parameters=None, **options):
    return SlotPool(TINY, parameters or random_parameters(6), shapes=SHAPES, **options)


def poisoned(segment):
    samples = segment.samples.copy()
    samples[len(samples) // 2] = np.nan
    return dataclasses.replace(segment, samples=samples)


def insert(pool, segments, decoding="greedy"):
    pool.insert(
        [
            SlotEntry(slot=slot, segment=segment, decoding=decoding)
            for slot, segment in enumerate(segments)
            if segment is not None
        ]
    )


def run(pool, segments, decoding="greedy"):
    """Slot -> (iteration in which it ended, its answer)."""
    insert(pool, segments, decoding)
    ended = {}
    for iteration in range(TINY.max_tokens):
        for finished in pool.step():
            ended[finished.slot] = iteration, finished.generated
    return ended


def assert_same(one, other):
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.log_probabilities, other.log_probabilities)


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_a_poisoned_segment_ends_in_its_first_iteration_and_says_so(decoding):
    good, bad, *others = random_segments(4)
    iteration, generated = run(make_pool(), [good, poisoned(bad), *others], decoding)[1]
    assert iteration == 0
    assert len(generated.tokens) == SHAPES.iteration_steps, "not the most tokens for nothing"
    assert np.isnan(generated.log_probabilities).all()


@pytest.mark.parametrize("launches_ahead", [False, True])
@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_its_neighbours_in_the_batch_are_exactly_what_they_are_without_it(decoding, launches_ahead):
    first, bad, third, fourth = random_segments(4)
    pool = make_pool(launches_ahead=launches_ahead)
    without = run(make_pool(), [first, bad, third, fourth], decoding)
    beside = run(pool, [first, poisoned(bad), third, fourth], decoding)
    for slot in (0, 2, 3):
        assert np.isfinite(beside[slot][1].log_probabilities).all()
        assert_same(beside[slot][1], without[slot][1])


@pytest.mark.parametrize("launches_ahead", [False, True])
def test_the_next_segment_in_its_row_is_exactly_what_it_is_in_a_fresh_one(launches_ahead):
    """The row's caches hold NaN in columns that are masked; masked is not enough."""
    segments = random_segments(4)
    expected = {slot: answer for slot, (_, answer) in run(make_pool(), segments).items()}
    pool = make_pool(launches_ahead=launches_ahead)
    run(pool, [poisoned(segment) for segment in segments])  # every row
    after = run(pool, segments)
    for slot in range(4):
        assert_same(after[slot][1], expected[slot])


def test_neighbours_in_mid_segment_are_not_moved_by_the_emptied_row():
    first, second, *_ = random_segments(4, seed=6)  # the first one takes 200 tokens
    _, expected = run(make_pool(), [first])[0]
    pool = make_pool()
    insert(pool, [first])
    answers = pool.step()
    insert(pool, [None, poisoned(second)])
    for _ in range(TINY.max_tokens):
        answers += pool.step()
    assert [a.slot for a in answers] == [1, 0]
    assert_same(answers[1].generated, expected)


def test_poisoned_parameters_show_in_every_segment():
    leaves, structure = jax.tree.flatten(random_parameters(6))
    leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(jnp.nan)
    ended = run(make_pool(jax.tree.unflatten(structure, leaves)), random_segments(4))
    assert len(ended) == 4
    for iteration, generated in ended.values():
        assert iteration == 0
        assert np.isnan(generated.log_probabilities).any()


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("reference", [False, True])
def test_one_such_logit_makes_the_score_nan_for_good(value, reference):
    """The log probabilities that the pool checks. Without them the end token is not chosen, and no
    row ends early."""
    progress = selection.Progress(
        position=jnp.array([3]),
        score=jnp.array([-1.0]),
        best_score=jnp.array([-jnp.inf]),
        length=jnp.array([0]),
        live=jnp.array([True]),
    )
    rule = jnp.array([reference])
    logits = jnp.zeros((1, 12)).at[0, 5].set(value)
    forbidden = jnp.zeros((1, 12), bool)
    choice = selection.select(logits, progress, rule, forbidden, max_tokens=200)
    assert jnp.isnan(choice.progress.score[0])
    assert jnp.isnan(choice.log_probability[0])
    later = selection.select(jnp.zeros((1, 12)), choice.progress, rule, forbidden, max_tokens=200)
    assert jnp.isnan(later.progress.score[0])


def test_a_segment_released_while_its_iteration_runs_harms_no_later_one():
    bad, good, beside, _ = random_segments(4)
    pool = make_pool(launches_ahead=True)
    insert(pool, [poisoned(bad), beside])
    assert pool.step() == []  # launched, and not looked at yet
    pool.release([0])
    found = run(pool, [good])
    assert_same(found[0][1], run(make_pool(), [good])[0][1])
    assert_same(found[1][1], run(make_pool(), [beside])[0][1])
