"""The selection rules on logits worked by hand, and the reference rule against a plain loop."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.generation import selection
from mt3_model.generation.selection import Progress

MAX_TOKENS = 12
select = jax.jit(functools.partial(selection.select, max_tokens=MAX_TOKENS))


def start(rows=1):
    return Progress(
        position=jnp.zeros(rows, jnp.int32),
        score=jnp.zeros(rows, jnp.float32),
        best_score=jnp.full(rows, -jnp.inf, jnp.float32),
        length=jnp.zeros(rows, jnp.int32),
        live=jnp.ones(rows, bool),
    )


def choose(rule, logits, progress):
    reference = jnp.full(progress.live.shape, rule == "reference")
    return select(logits, progress, reference, none_forbidden(logits))


def none_forbidden(logits):
    return jnp.zeros(logits.shape, bool)


def run(rule, steps):
    """Feeds logits ``[steps, V]`` to one row; returns its tokens and its last progress."""
    progress, tokens = start(), []
    for logits in steps:
        row = jnp.asarray(logits, jnp.float32)[None]
        choice = choose(rule, row, progress)
        if bool(progress.live[0]):
            tokens.append(int(choice.token[0]))
        progress = choice.progress
    return tokens, progress


def one_beam(steps):
    """The reference rule written as the text of reference.md, one row, float64."""
    live_sum, best, result, live = 0.0, -math.inf, None, []
    for t, logits in enumerate(steps):
        log_probabilities = np.asarray(logits, np.float64)
        log_probabilities = log_probabilities - np.log(np.exp(log_probabilities).sum())
        first, second = np.argsort(-log_probabilities, kind="stable")[:2]
        if END_TOKEN in (first, second):
            score = (live_sum + log_probabilities[END_TOKEN]) / ((5 + t + 1) / 6) ** 0.6
            if score > best:
                best, result = score, [*live, END_TOKEN]
        token = second if first == END_TOKEN else first
        live = [*live, int(token)]
        live_sum += log_probabilities[token]
        if best > live_sum / ((5 + MAX_TOKENS + 1) / 6) ** 0.6:
            break
    return live if result is None else result


def test_greedy_takes_the_largest_and_ends_at_the_end_token():
    tokens, progress = run("greedy", [[0, 1, 2, 3], [0, 1, 3, 2], [0, 5, 1, 1], [9, 0, 0, 0]])
    assert tokens == [3, 2, END_TOKEN]
    assert int(progress.length[0]) == 3
    assert not bool(progress.live[0])


@pytest.mark.parametrize("rule", ["greedy", "reference"])
def test_ties_go_to_the_lower_token(rule):
    tokens, _ = run(rule, [[0, 0, 7, 7]])
    assert tokens == [2]


def test_greedy_log_probability_is_that_of_the_chosen_token():
    choice = choose("greedy", jnp.log(jnp.array([[1.0, 1, 6, 2]])), start())
    assert float(choice.log_probability[0]) == pytest.approx(math.log(6 / 10), abs=1e-6)


def test_a_row_without_an_end_is_as_long_as_allowed():
    for rule in ("greedy", "reference"):
        _, progress = run(rule, [[0, -50, 2, 1]] * MAX_TOKENS)
        assert int(progress.length[0]) == MAX_TOKENS
        assert not bool(progress.live[0])


def test_reference_keeps_an_end_that_came_second():
    """The end is only second at step 1, but nothing after it is likely: the row ends there."""
    even = [math.log(p) for p in (0.01, 0.01, 0.97, 0.01)]
    close = [math.log(p) for p in (0.01, 0.44, 0.54, 0.01)]
    flat = [math.log(0.25)] * 4
    tokens, progress = run("reference", [even, close, *[flat] * 10])
    assert tokens[1] == 2, "the live row goes on with the better token"
    assert int(progress.length[0]) == 2, "but the result ends with the end at step 1"


@pytest.mark.parametrize("seed", range(40))
def test_reference_equals_a_plain_one_beam_search(seed):
    random = np.random.default_rng(seed)
    logits = random.standard_normal((MAX_TOKENS, 6)) * 3
    logits[:, END_TOKEN] += random.uniform(-4, 3)
    tokens, progress = run("reference", logits)
    length = int(progress.length[0])
    expected = one_beam(logits)
    result = tokens[:length]
    if np.isfinite(float(progress.best_score[0])):
        result[-1] = END_TOKEN
    assert result == expected


@pytest.mark.parametrize("rule", ["greedy", "reference"])
def test_a_finished_row_never_changes_again(rule):
    _, done = run(rule, [[0, 90, 2, 1]] * 2)
    assert not bool(done.live[0])
    after = choose(rule, jnp.array([[0.0, 0, 9, 1]]), done).progress
    assert all(
        jnp.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(done), jax.tree.leaves(after), strict=True)
    )


def test_rows_of_both_rules_share_a_step_and_do_not_mix():
    random = np.random.default_rng(5)
    logits = jnp.asarray(random.standard_normal((2, 6)), jnp.float32)
    mixed = select(logits, start(2), jnp.array([True, False]), none_forbidden(logits))
    for row, rule in enumerate(("reference", "greedy")):
        alone = choose(rule, logits[row : row + 1], start())
        for together, single in zip(jax.tree.leaves(mixed), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(together[row], single[0])


@pytest.mark.parametrize("rule", ["greedy", "reference"])
def test_a_forbidden_token_is_not_chosen_and_the_others_share_its_probability(rule):
    logits = jnp.array([[0.0, -5.0, 2.0, 1.0, 0.0]])
    forbidden = jnp.array([[False, False, True, False, True]])
    reference = jnp.array([rule == "reference"])
    choice = select(logits, start(), reference, forbidden)
    assert choice.token.tolist() == [3]
    # log(e^1 / (e^0 + e^-5 + e^1)) = 1 - log(3.72502)
    np.testing.assert_allclose(choice.log_probability, [1 - np.log(3.72502)], rtol=1e-5)
