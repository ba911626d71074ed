"""The GPU's programs of cached attention, interpreted, equal a computation in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.network import gpu_attention
from mt3_model.network.attention import Attention
from mt3_model.network.cache import KeysValues
from mt3_model.network.gpu_attention import attend_cached, attend_past
from mt3_model.network.single_query import write_column
from tests.unit.network.attention_cases import make_case, written_out

pytestmark = pytest.mark.slow

COLUMNS = 192
"""No multiple of the 128 columns that are otherwise read at once."""
TOLERANCE = {jnp.float32: 2e-5, jnp.bfloat16: 2e-2}
"""bfloat16 is that of the answer."""


def make_joined(rows, heads, width, seed=0):
    random = np.random.default_rng(seed)
    return jnp.asarray(random.standard_normal((rows, 3, heads, width), np.float32))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_is_softmax_attention_over_the_used_columns(dtype):
    query, kept, used = make_case(5, 2, COLUMNS, 64, dtype)
    answer = attend_cached(query, kept, used, interpret=True)
    rounded = query.astype(dtype).astype(jnp.float32)
    assert answer.dtype == dtype
    np.testing.assert_allclose(
        answer.astype(jnp.float32), written_out(rounded, kept, used), atol=TOLERANCE[dtype]
    )


def test_columns_after_the_used_ones_do_not_matter():
    query, kept, used = make_case(3, 2, 256, 64)
    used = jnp.minimum(used, 128)
    few = jax.tree.map(lambda array: array[:, :, :128], kept)
    assert isinstance(few, KeysValues)
    np.testing.assert_array_equal(
        attend_cached(query, few, used, interpret=True),
        attend_cached(query, kept, used, interpret=True),
    )


def test_a_row_without_columns_gets_zeros():
    query, kept, _ = make_case(2, 2, 64, 64)
    answer = attend_cached(query, kept, jnp.zeros(2, jnp.int32), interpret=True)
    np.testing.assert_array_equal(answer, 0.0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_past_is_attention_after_the_new_column_is_written(dtype):
    """At the first column, at borders of what is read at once, at the last and after it."""
    positions = jnp.array([0, 63, 64, 100, COLUMNS - 1, COLUMNS + 40], jnp.int32)
    _, past, _ = make_case(len(positions), 2, COLUMNS, 64, dtype)
    joined = make_joined(len(positions), 2, 64)
    answer, written = attend_past(joined, past, positions, interpret=True)
    query, key, value = (joined[:, part] for part in range(3))
    expected = write_column(
        past, KeysValues(keys=key[:, :, None], values=value[:, :, None]), positions
    )
    np.testing.assert_array_equal(written.keys, expected.keys)
    np.testing.assert_array_equal(written.values, expected.values)
    rounded = query.astype(dtype).astype(jnp.float32)
    used = jnp.minimum(positions + 1, COLUMNS)
    np.testing.assert_allclose(
        answer.astype(jnp.float32), written_out(rounded, expected, used), atol=TOLERANCE[dtype]
    )


def test_the_module_computes_the_same_with_either_implementation(monkeypatch):
    for name in ("attend_cached", "attend_past"):
        program = functools.partial(getattr(gpu_attention, name), interpret=True)
        monkeypatch.setattr(gpu_attention, name, program)
    _, past, _ = make_case(3, 2, COLUMNS, 16, jnp.float32)
    inputs = make_joined(3, 8, 4)[:, 0].reshape(3, 32)
    positions = jnp.array([0, 70, 191], jnp.int32)
    ours, xlas = (Attention(2, 16, 32, cached_attention=kind) for kind in ("triton", "xla"))
    parameters = xlas.init(jax.random.key(0), inputs, past, positions, method="attend_past")
    answer, written = ours.apply(parameters, inputs, past, positions, method="attend_past")
    expected, column = xlas.apply(parameters, inputs, past, positions, method="attend_past")
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    for one, other in zip(jax.tree.leaves(written), jax.tree.leaves(column), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    cached = (parameters, inputs, written, positions + 1)
    np.testing.assert_allclose(
        ours.apply(*cached, method="attend_cached"),
        xlas.apply(*cached, method="attend_cached"),
        atol=1e-5,
    )
