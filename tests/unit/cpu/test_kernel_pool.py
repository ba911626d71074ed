"""Test the CPU's own pool of slots: the rules of every pool, and its own."""

import dataclasses

import jax
import numpy as np
import pytest

from mt3_model.cpu import kernel_pool
from mt3_model.cpu.kernel_pool import KernelPool
from mt3_model.cpu.packed_network import PackedNetwork
from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.generated import SlotEntry
from tests.unit.generation.tiny_model import TINY, random_parameters, random_segments

pytestmark = pytest.mark.slow


SHAPES = SlotShapes(rows=(6,), encode_batches=(2,), iteration_steps=16)


def make_pool(seed=6, **options):
    options = {"shapes": SHAPES, "cores": 2, "encodes_by_xla": False, **options}
    return KernelPool(TINY, random_parameters(seed), **options)


def answers_of(pool, segments, decoding="greedy"):
    """Return the tokens and log probabilities of each segment, to compare them bit for bit."""
    return [
        (answer.tokens.tolist(), answer.log_probabilities.tolist())
        for _, answer in generate(pool, segments, decoding)
    ]


def numbered(segments):
    return [dataclasses.replace(segment, index=i) for i, segment in enumerate(segments)]


def run_until_free(pool):
    """Slot -> its answer."""
    ended = {}
    for _ in range(TINY.max_tokens):
        for finished in pool.step():
            ended[finished.slot] = finished.generated
    return ended


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_in_float32_tokens_are_those_of_xla(decoding):
    segments = numbered(random_segments(12, seed=1))
    by_xla = SlotPool(TINY, random_parameters(6), shapes=SHAPES, precision="float32")
    theirs = answers_of(by_xla, segments, decoding)
    ours = answers_of(make_pool(precision="float32"), segments, decoding)
    for (tokens, log_probabilities), (expected, expected_log_probabilities) in zip(
        ours, theirs, strict=True
    ):
        assert tokens == expected
        # Sums of 16 to 64 float32 products in another order, through a few layers.
        np.testing.assert_allclose(log_probabilities, expected_log_probabilities, atol=1e-4)


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_tokens_are_those_of_xla_but_for_near_ties(decoding):
    """Random parameters, so that ties are near, and what follows a near-tie is something else."""
    segments = numbered(random_segments(12, seed=1))
    by_xla = SlotPool(TINY, random_parameters(6), shapes=SHAPES, precision="bfloat16")
    theirs = [tokens for tokens, _ in answers_of(by_xla, segments, decoding)]
    ours = [tokens for tokens, _ in answers_of(make_pool(), segments, decoding)]
    agreeing = [_common(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert sum(agreeing) > 0.5 * sum(map(len, theirs))
    assert min(agreeing) >= 2


def _common(a, b):
    """Return the number of tokens up to the first difference."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_a_segments_answer_is_the_same_to_the_bit_wherever_and_with_whomever(decoding, cores):
    """More segments than slots, so that slots are refilled while others are in mid-segment."""
    pool = make_pool(cores=cores)
    segments = random_segments(3)
    together = answers_of(pool, numbered(segments * 5), decoding)
    single = make_pool(cores=1)
    alone = [answers_of(single, numbered([segment]), decoding)[0] for segment in segments]
    assert together == alone * 5


def test_rules_may_differ_from_slot_to_slot():
    pool = make_pool()
    segments = random_segments(2)
    expected = {rule: answers_of(pool, segments, rule) for rule in ("greedy", "reference")}
    pool.insert(
        [
            SlotEntry(slot=0, segment=segments[0], decoding="reference"),
            SlotEntry(slot=4, segment=segments[1], decoding="greedy"),
        ]
    )
    ended = run_until_free(pool)
    assert ended[0].tokens.tolist() == expected["reference"][0][0]
    assert ended[4].tokens.tolist() == expected["greedy"][1][0]


def test_a_released_slot_ends_nothing_and_serves_again():
    pool = make_pool()
    segments = random_segments(2)
    expected = answers_of(pool, segments)
    pool.insert(
        [
            SlotEntry(slot=slot, segment=segment, decoding="greedy")
            for slot, segment in enumerate(segments)
        ]
    )
    pool.step()
    pool.release([1])
    assert list(run_until_free(pool)) == [0]
    assert answers_of(pool, segments) == expected


def test_a_segment_that_outgrows_the_usual_columns_is_not_changed_by_moving():
    segments = random_segments(3, seed=6)  # 200, 62 and 69 tokens
    expected = answers_of(make_pool(), segments)
    assert max(len(tokens) for tokens, _ in expected) > 100
    pool = make_pool(usual_columns=20)
    columns = set()
    step = pool.step

    def watched():
        columns.update(pool._kept.columns.tolist())
        return step()

    pool.step = watched
    assert answers_of(pool, segments) == expected
    assert columns >= {20, 40, 80, 160}
    assert pool._kept.columns.tolist() == [20] * 6, "given back when the segment has ended"
    assert not pool._long_past


class Watch:
    """Counts the rows of a network's steps, which fail while it `fails`."""

    stepped_rows = 0
    fails = False


@pytest.fixture
def watch(monkeypatch):
    watch, step = Watch(), PackedNetwork.step

    def watched(network, rows, *arguments):
        if watch.fails:
            raise RuntimeError("gone")
        watch.stepped_rows += len(rows)
        return step(network, rows, *arguments)

    monkeypatch.setattr(PackedNetwork, "step", watched)
    return watch


def test_an_iteration_costs_live_rows_only(watch):
    """Rows that end within a device iteration are not stepped again."""
    answers = answers_of(make_pool(), random_segments(3))
    assert watch.stepped_rows == sum(len(tokens) for tokens, _ in answers)


@pytest.mark.parametrize("encodes_by_xla", [False, True])
def test_both_ways_of_encoding_write_the_same_up_to_rounding(encodes_by_xla):
    segments = random_segments(2)
    exact = make_pool(encodes_by_xla=not encodes_by_xla)
    pool = make_pool(encodes_by_xla=encodes_by_xla)
    kept = []
    for each in (pool, exact):
        each.insert(
            [
                SlotEntry(slot=3 + i, segment=segment, decoding="greedy")
                for i, segment in enumerate(segments)
            ]
        )
        bits = each._encoded[3:5].astype(np.uint32) << 16
        kept.append(bits.view(np.float32))
    scale = np.abs(kept[1]).mean()
    assert np.abs(kept[0] - kept[1]).mean() < 0.02 * scale
    assert scale > 0.1


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
@pytest.mark.parametrize("encodes_by_xla", [False, True])
def test_a_poisoned_segment_ends_in_its_first_iteration_and_harms_no_other(
    decoding, encodes_by_xla
):
    """Neither its neighbours, nor the next segment in its slot."""
    pool = make_pool(encodes_by_xla=encodes_by_xla)
    good, bad, *_ = random_segments(3)
    samples = bad.samples.copy()
    samples[len(samples) // 2] = np.nan
    poisoned = dataclasses.replace(bad, samples=samples)

    def run(*segments):
        pool.insert(
            [
                SlotEntry(slot=slot, segment=segment, decoding=decoding)
                for slot, segment in enumerate(segments)
            ]
        )
        first = {finished.slot for finished in pool.step()}
        return first, run_until_free(pool)

    _, expected = run(good, bad)
    pool.insert(
        [
            SlotEntry(slot=slot, segment=segment, decoding=decoding)
            for slot, segment in enumerate((good, poisoned))
        ]
    )
    (ended,) = pool.step()
    assert ended.slot == 1
    assert np.isnan(ended.generated.log_probabilities).all()
    assert len(ended.generated.tokens) == SHAPES.iteration_steps, "not the most tokens for nothing"
    beside = run_until_free(pool)[0]
    np.testing.assert_array_equal(beside.tokens, expected[0].tokens)
    np.testing.assert_array_equal(beside.log_probabilities, expected[0].log_probabilities)
    _, after = run(good, bad)
    for slot in (0, 1):
        np.testing.assert_array_equal(
            after[slot].log_probabilities, expected[slot].log_probabilities
        )


def test_poisoned_parameters_show_in_every_segment():
    """One number of the last of them, whichever that is."""
    leaves, structure = jax.tree.flatten(random_parameters(6))
    leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(np.nan)
    pool = KernelPool(TINY, jax.tree.unflatten(structure, leaves), shapes=SHAPES)
    answers = answers_of(pool, random_segments(3))
    assert len(answers) == 3
    for _, log_probabilities in answers:
        assert np.isnan(log_probabilities).any()


def test_what_a_core_raises_is_raised_and_the_slots_serve_again(watch):
    pool = make_pool()
    segments = random_segments(2)
    expected = answers_of(pool, segments)
    pool.insert([SlotEntry(slot=0, segment=segments[0], decoding="greedy")])
    watch.fails = True
    with pytest.raises(RuntimeError, match="gone"):
        pool.step()
    watch.fails = False
    pool.release(range(pool.slots))
    assert answers_of(pool, segments) == expected


def test_slots_follow_the_cores(monkeypatch):
    for cores, slots, batch in ((1, 32, 4), (2, 32, 4), (8, 128, 8), (64, 256, 64)):
        monkeypatch.setattr(kernel_pool, "usable_cores", lambda cores=cores: cores)
        shapes = kernel_pool.suitable_kernel_shapes()
        assert (shapes.rows, shapes.encode_batch) == ((slots,), batch)
    assert kernel_pool.suitable_kernel_shapes(3).encode_batch == 3
