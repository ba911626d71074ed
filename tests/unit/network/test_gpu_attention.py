"""The GPU's program of cached attention, interpreted, equals a computation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.network.cache import KeysValues
from mt3_model.network.gpu_attention import BLOCK, attend_cached
from tests.unit.network.attention_cases import make_case, written_out

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_is_softmax_attention_over_the_used_columns(dtype):
    query, kept, used = make_case(5, 2, 3 * BLOCK, 64, dtype)
    answer = attend_cached(query, kept, used, interpret=True)
    rounded = query.astype(dtype).astype(jnp.float32)
    np.testing.assert_allclose(answer, written_out(rounded, kept, used), atol=2e-5)


def test_columns_after_the_used_ones_do_not_matter():
    query, kept, used = make_case(3, 2, 2 * BLOCK, 64)
    used = jnp.minimum(used, BLOCK)
    few = jax.tree.map(lambda array: array[:, :, :BLOCK], kept)
    assert isinstance(few, KeysValues)
    np.testing.assert_array_equal(
        attend_cached(query, few, used, interpret=True),
        attend_cached(query, kept, used, interpret=True),
    )


def test_a_row_without_columns_gets_zeros():
    query, kept, _ = make_case(2, 2, BLOCK, 64)
    answer = attend_cached(query, kept, jnp.zeros(2, jnp.int32), interpret=True)
    np.testing.assert_array_equal(answer, 0.0)
