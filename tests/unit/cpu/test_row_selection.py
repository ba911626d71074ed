"""The CPU's selection equals XLA's, for both rules, over whole sequences of random logits."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.cpu.kernels.row_selection import select_rows
from mt3_model.generation import selection
from tests.examples import examples

ROWS, VOCABULARY, MOST = 4, 12, 24
SELECT = jax.jit(selection.select, static_argnames="max_tokens")


def new_state():
    return {
        "previous": np.zeros(ROWS, np.int32),
        "tokens": np.zeros((ROWS, MOST), np.int32),
        "log_probabilities": np.zeros((ROWS, MOST), np.float32),
        "positions": np.zeros(ROWS, np.int32),
        "reference": np.array([False, True, False, True]),
        "scores": np.zeros(ROWS, np.float32),
        "best_scores": np.full(ROWS, -np.inf, np.float32),
        "lengths": np.zeros(ROWS, np.int32),
        "live": np.ones(ROWS, bool),
        "restricted": np.zeros(ROWS, bool),
        "forbidden": np.zeros((ROWS, VOCABULARY), bool),
    }


def select(state, logits):
    rows = np.flatnonzero(state["live"])
    largest = logits.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        normalizers = (largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=-1)))[rows]
    select_rows(rows, logits[rows], normalizers, *state.values())


def progress_of(state):
    return selection.Progress(
        position=jnp.asarray(state["positions"]),
        score=jnp.asarray(state["scores"]),
        best_score=jnp.asarray(state["best_scores"]),
        length=jnp.asarray(state["lengths"]),
        live=jnp.asarray(state["live"]),
    )


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.1, 8),
    end=st.floats(-2, 6),
    forbidden=st.floats(0, 1),
)
def test_every_step_of_a_sequence_is_the_one_of_the_rule(seed, scale, end, forbidden):
    random = np.random.default_rng(seed)
    state = new_state()
    state["restricted"][2:] = True
    state["forbidden"][2:] = random.random((2, VOCABULARY)) < forbidden
    state["forbidden"][:, END_TOKEN] = False
    while state["live"].any():
        logits = (scale * random.standard_normal((ROWS, VOCABULARY))).astype(np.float32)
        logits[:, END_TOKEN] += np.float32(end)
        live = state["live"].copy()
        positions = state["positions"].copy()
        expected = SELECT(
            jnp.asarray(logits),
            progress_of(state),
            jnp.asarray(state["reference"]),
            jnp.asarray(state["forbidden"]),
            max_tokens=MOST,
        )
        tokens, log_probabilities = map(np.asarray, (expected.token, expected.log_probability))
        select(state, logits)
        progress = expected.progress
        np.testing.assert_array_equal(state["live"], progress.live)
        np.testing.assert_array_equal(state["lengths"], progress.length)
        np.testing.assert_array_equal(state["positions"], progress.position)
        np.testing.assert_allclose(state["scores"], progress.score, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(state["best_scores"], progress.best_score, rtol=1e-5, atol=1e-5)
        for row in np.flatnonzero(live):
            assert state["tokens"][row, positions[row]] == tokens[row]
            assert state["previous"][row] == tokens[row]
            written = state["log_probabilities"][row, positions[row]]
            np.testing.assert_allclose(written, log_probabilities[row], atol=1e-5)


@pytest.mark.parametrize("row", [0, 1])
def test_of_equal_logits_the_lower_token_is_chosen(row):
    state = new_state()
    logits = np.zeros((ROWS, VOCABULARY), np.float32)
    logits[:, [4, 7]] = 3
    select(state, logits)
    assert state["tokens"][row, 0] == 4


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_such_logit_makes_the_score_nan_for_good(row, value):
    """The pool checks this limit; the row continues until then."""
    state = new_state()
    logits = np.zeros((ROWS, VOCABULARY), np.float32)
    logits[:, 5] = value
    for _ in range(3):
        select(state, logits)
        logits[:] = 0
        assert np.isnan(state["scores"][row])
        assert state["live"][row]
