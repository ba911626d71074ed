"""Attention over cached columns equals a computation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.network.single_query import attend_cached
from tests.unit.network.attention_cases import make_case, written_out

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("rows", "heads", "columns", "width"),
    [(1, 1, 1, 64), (4, 6, 256, 64), (5, 6, 192, 64), (33, 2, 7, 64), (3, 2, 9, 4), (2, 12, 5, 80)],
)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_is_softmax_attention_over_the_used_columns(rows, heads, columns, width, dtype):
    query, kept, used = make_case(rows, heads, columns, width, dtype)
    answer = jax.jit(attend_cached)(query, kept, used)
    expected = written_out(query, kept, used)
    # In bfloat16 the query and the weights are rounded to 8 bits, 1 / 256 each.
    np.testing.assert_allclose(answer, expected, atol=2e-5 if dtype == jnp.float32 else 0.05)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_unused_columns_do_not_matter(dtype):
    query, kept, used = make_case(6, 2, 20, 64, dtype)
    past = jnp.arange(20)[None, None, :, None] >= used[:, None, None, None]
    other = jax.tree.map(lambda a: jnp.where(past, jnp.asarray(50, dtype), a), kept)
    attend = jax.jit(attend_cached)
    np.testing.assert_array_equal(attend(query, kept, used), attend(query, other, used))


def test_a_row_does_not_depend_on_the_number_of_rows():
    query, kept, used = make_case(32, 6, 64, 64)
    attend = jax.jit(attend_cached)
    together = attend(query, kept, used)
    for count in (1, 4, 7):
        few = jax.tree.map(lambda a, count=count: a[:count], (query, kept, used))
        np.testing.assert_array_equal(attend(*few), together[:count])


def test_large_logits_do_not_overflow():
    query, kept, used = make_case(2, 2, 16, 64)
    answer = jax.jit(attend_cached)(query * 1e4, kept, used)
    assert np.isfinite(answer).all()
