"""Slots through the verbs against generation without a cache, and against themselves."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.generation.steps import Steps
from mt3_model.notes.generated import SlotEntry
from tests.unit.generation.tiny_model import (
    TINY,
    by_brute_force,
    random_parameters,
    random_segments,
)

pytestmark = pytest.mark.slow


SHAPES = SlotShapes(rows=(2, 4, 6), encode_batches=(2,), iteration_steps=16)


in_both_orders = pytest.mark.parametrize("launches_ahead", [False, True])
"""Each test runs with and without launching an iteration before the last one is read."""


def make_pool(seed=6, shapes=SHAPES, **options):
    return SlotPool(TINY, random_parameters(seed), shapes=shapes, **options)


def make_steps():
    return Steps(spec=TINY, devices=tuple(jax.local_devices()))


def tokens_of(pool, segments, decoding="greedy"):
    return [answer.tokens.tolist() for _, answer in generate(pool, segments, decoding)]


def all_live(state):
    return dataclasses.replace(state, live=jnp.ones_like(state.live))


def run_until_free(pool):
    """Steps until nothing is taken; slot -> tokens."""
    ended = {}
    for _ in range(TINY.max_tokens):
        for finished in pool.step():
            ended[finished.slot] = finished.generated.tokens.tolist()
    return ended


@in_both_orders
@pytest.mark.parametrize(
    ("seed", "lengths"), [(3, [14, 41, 28]), (6, [200, 145, 52]), (11, [10, 16, 200])]
)
def test_cached_generation_equals_the_whole_prefix_through_the_network(
    seed, lengths, launches_ahead
):
    """The lengths cross column buckets and stay within the first, end and do not end."""
    segments = random_segments(3, seed)
    tokens = tokens_of(make_pool(seed, launches_ahead=launches_ahead), segments)
    assert [len(row) for row in tokens] == lengths
    assert tokens == [by_brute_force(random_parameters(seed), s) for s in segments]


@in_both_orders
@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_a_segment_does_not_depend_on_where_or_with_whom_it_generates(decoding, launches_ahead):
    """More segments than slots, so that slots are refilled while others are in mid-segment."""
    pool = make_pool(launches_ahead=launches_ahead)
    segments = [
        dataclasses.replace(segment, index=index)
        for index, segment in enumerate(random_segments(3) * 5)
    ]
    together = tokens_of(pool, segments, decoding)
    alone = [
        tokens_of(pool, [dataclasses.replace(segment, index=0)], decoding)[0]
        for segment in segments[:3]
    ]
    assert together == alone * 5


def test_rules_may_differ_from_slot_to_slot():
    pool = make_pool()
    segments = random_segments(2)
    expected = {rule: tokens_of(pool, segments, rule) for rule in ("greedy", "reference")}
    pool.insert(
        [
            SlotEntry(slot=0, segment=segments[0], decoding="reference"),
            SlotEntry(slot=4, segment=segments[1], decoding="greedy"),
        ]
    )
    assert run_until_free(pool) == {0: expected["reference"][0], 4: expected["greedy"][1]}


@in_both_orders
def test_a_released_slot_ends_nothing_and_serves_again(launches_ahead):
    pool = make_pool(launches_ahead=launches_ahead)
    segments = random_segments(2)
    expected = tokens_of(pool, segments)
    entries = [
        SlotEntry(slot=slot, segment=segment, decoding="greedy")
        for slot, segment in enumerate(segments)
    ]
    pool.insert(entries)
    pool.step()
    pool.release([1])
    assert run_until_free(pool) == {0: expected[0]}
    pool.insert([SlotEntry(slot=1, segment=segments[1], decoding="greedy")])
    assert run_until_free(pool) == {1: expected[1]}


def test_a_segment_in_a_released_slot_does_not_get_what_the_slot_had_before():
    """The iteration that is read after the release is one of the slot's earlier segment."""
    long, short, _ = random_segments(3)
    pool = make_pool(launches_ahead=True)
    expected = tokens_of(pool, [long, short])
    pool.insert([SlotEntry(slot=0, segment=long, decoding="greedy")])
    for _ in range(len(expected[0]) // SHAPES.iteration_steps + 1):  # ends in the last
        assert pool.step() == []
    pool.release([0])
    pool.insert([SlotEntry(slot=0, segment=short, decoding="greedy")])
    assert run_until_free(pool) == {0: expected[1]}


def test_segments_are_taken_only_as_slots_become_free():
    taken = itertools.count()
    pool = make_pool()
    segments = random_segments(3) * 20

    def watched():
        for index, segment in enumerate(segments):
            next(taken)
            yield dataclasses.replace(segment, index=index)

    first = next(generate(pool, watched(), "greedy"))
    assert first[0].index == 0
    assert next(taken) < len(segments) // 2


def test_a_reader_that_fails_leaves_the_slots_free():
    pool = make_pool()

    def failing():
        yield from random_segments(2)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(generate(pool, failing(), "greedy"))
    assert tokens_of(pool, random_segments(3)) == tokens_of(make_pool(), random_segments(3))


def test_log_probabilities_stand_beside_each_token():
    for _, generated in generate(make_pool(), random_segments(2), "greedy"):
        assert generated.log_probabilities.shape == generated.tokens.shape
        assert (generated.log_probabilities <= 0).all()
        assert np.isfinite(generated.log_probabilities).all()


def test_caches_grow_with_the_longest_row_and_shrink_again():
    pool = make_pool()
    columns = set()
    original = pool.step

    def watched():
        finished = original()
        columns.add(pool._state.columns)
        return finished

    pool.step = watched
    tokens_of(pool, random_segments(3))  # 200, 145 and 52 tokens
    assert {64, 128, 200} <= columns
    tokens_of(pool, random_segments(3)[2:])  # 52 tokens: back to the first bucket
    assert pool._state.columns <= 128


def test_a_small_batch_is_encoded_as_a_full_one_is():
    few = SlotShapes(rows=(6,), encode_batches=(2, 4), iteration_steps=16)
    segments = random_segments(7, seed=3)
    full = dataclasses.replace(few, encode_batches=(4,))
    assert tokens_of(make_pool(shapes=few), segments) == tokens_of(make_pool(shapes=full), segments)


def test_copied_progress_outlasts_the_state():
    steps = make_steps()
    state = all_live(steps.empty_state(2, 128))
    copied = steps.copy_progress(state)
    steps.step(random_parameters(6), state, 5)
    assert state.tokens.is_deleted(), "the step took it"
    np.testing.assert_array_equal(copied.position, [0, 0])


def test_step_updates_its_caches_in_place():
    """The donated caches come back in the buffers that went in: nothing is copied."""
    steps = make_steps()
    state = all_live(steps.empty_state(2, 128))
    before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.cache)]
    after = steps.step(random_parameters(6), state, 5)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(after.cache)]
    assert pointers == before


def test_resizing_keeps_what_is_written():
    steps = make_steps()
    state = all_live(steps.empty_state(2, 128))
    state = steps.step(random_parameters(6), state, 9)
    back = steps.resize(steps.resize(state, 256), 128)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(a, b)


@in_both_orders
def test_after_a_device_failure_the_slots_serve_again(launches_ahead):
    pool = make_pool(launches_ahead=launches_ahead)
    segments = random_segments(2)
    expected = tokens_of(pool, segments)
    pool.insert([SlotEntry(slot=0, segment=segments[0], decoding="greedy")])
    for leaf in jax.tree.leaves(pool._state):
        leaf.delete()  # as a call that failed leaves what was donated to it
    with pytest.raises(RuntimeError, match="deleted"):
        pool.step()
    pool.release(range(pool.slots))
    assert tokens_of(pool, segments) == expected


@in_both_orders
def test_no_segment_waits_for_a_compiler_once_every_shape_is_warm(launches_ahead):
    pool = SlotPool(
        TINY,
        random_parameters(6),
        shapes=SlotShapes(
            rows=(2, 4, 8),
            encode_batches=(2, 4),
            iteration_steps=8,
            warm_columns=TINY.max_tokens,
        ),
        launches_ahead=launches_ahead,
    )
    pool.warm_up()
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    tokens = tokens_of(pool, random_segments(24))
    jax.monitoring.clear_event_listeners()
    assert max(len(each) for each in tokens) > 64, "a row grows into other buckets of columns"
    assert compiled == []


@pytest.mark.parametrize(
    ("precision", "ends_early"), [("float32", True), ("bfloat16", True), ("bfloat16", False)]
)
def test_with_one_shape_tokens_do_not_depend_on_company(precision, ends_early):
    """A GPU runs a fixed number of steps in an iteration, and launches iterations ahead."""
    shapes = SlotShapes(
        rows=(6,), encode_batches=(2,), iteration_steps=16, columns=(TINY.max_tokens,)
    )
    pool = make_pool(
        shapes=shapes,
        precision=precision,
        ends_early=ends_early,
        launches_ahead=not ends_early,
    )
    ours, others = random_segments(2, seed=1), random_segments(9, seed=2)
    alone = tokens_of(pool, ours)
    for mixed in ([*others, *ours], [*others[:4], *ours, *others[4:]], [*ours, *others]):
        stream = [dataclasses.replace(s, index=index) for index, s in enumerate(mixed)]
        places = [index for index, s in enumerate(mixed) if any(s is own for own in ours)]
        tokens = tokens_of(pool, stream)
        assert [tokens[place] for place in places] == alone


def test_a_fixed_number_of_steps_gives_the_tokens_of_one_that_ends_early():
    segments = random_segments(7, seed=3)
    early, fixed = (make_pool(ends_early=ends_early) for ends_early in (True, False))
    assert tokens_of(fixed, segments) == tokens_of(early, segments)
