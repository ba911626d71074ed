"""The CPU's programs against the same sums written out in NumPy, and against the network in JAX."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numba
import numpy as np
import pytest

from mt3_model.cpu.kernels import attention, elements
from mt3_model.cpu.kernels.vectors import PANEL
from mt3_model.cpu.packed_network import (
    KeptColumns,
    addresses_of,
    pack_network,
    stored_dtype,
    to_panels,
)
from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.transformer import Transformer
from mt3_model.spec import MT3
from tests.unit.generation.tiny_model import TINY, random_parameters

pytestmark = pytest.mark.slow


PRECISIONS = ("float32", "bfloat16")


def to_bits(array):
    return np.asarray(array, np.float32).astype(ml_dtypes.bfloat16).view(np.uint16)


def to_floats(bits):
    return bits.view(ml_dtypes.bfloat16).astype(np.float32)


def stored(array, precision):
    """Convert numbers to the programs' storage format."""
    return to_bits(array) if precision == "bfloat16" else np.asarray(array, np.float32)


def read(array):
    """Stored numbers as float32."""
    return to_floats(array) if array.dtype == np.uint16 else array


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@numba.njit
def multiply(left, inner, kernel, columns, answer):
    return elements.product(left, inner, kernel, 0, columns, answer)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19])
@pytest.mark.parametrize(("inner", "columns"), [(2, 32), (64, 96), (24, 5), (16, 33)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_product_is_that_of_the_stored_operands(rows, inner, columns, precision):
    """For every number of rows that has code of its own, and columns that fill no panel."""
    left, kernel = stored(draw(rows, inner), precision), draw(inner, columns, seed=1)
    answer = np.full((rows, -(-columns // PANEL) * PANEL + 7), np.nan, np.float32)
    packed = to_panels(kernel, stored_dtype(precision)).ravel()
    following = multiply(left, inner, packed, columns, answer)
    expected = read(left).astype(np.float64) @ read(stored(kernel, precision))
    np.testing.assert_allclose(answer[:, :columns], expected, atol=1e-5)
    assert following == packed.size
    assert np.isnan(answer[:, -7:]).all(), "nothing is written past the last panel"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_row_of_a_product_is_the_same_whatever_rows_stand_beside_it(precision):
    left = stored(draw(19, 64), precision)
    kernel = to_panels(draw(64, 96, seed=1), stored_dtype(precision)).ravel()
    together, alone = np.empty((19, 96), np.float32), np.empty((1, 96), np.float32)
    multiply(left, 64, kernel, 96, together)
    for row in range(19):
        multiply(left[row : row + 1], 64, kernel, 96, alone)
        np.testing.assert_array_equal(alone[0], together[row])


@numba.njit
def round_into(numbers, into):
    for i in range(numbers.size):
        into[i] = elements.rounded(numbers[i], into)


def round_each(numbers):
    into = np.zeros(numbers.size, np.uint16)
    round_into(numbers, into)
    return into


def test_rounding_is_to_the_nearest_and_of_ties_to_the_even():
    values = np.concatenate(
        [
            draw(10_000) * np.float32(1e3),
            np.array([1 + 2**-8, 1 + 3 * 2**-8, 0, -0.0, np.inf, -np.inf, 3.4e38], np.float32),
        ]
    )
    np.testing.assert_array_equal(round_each(values), to_bits(values))


def test_what_is_no_number_stays_none_when_rounded():
    """Adding half a unit to the NaN whose bits are all ones would make a zero of it."""
    nans = np.array([0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        assert np.isnan(to_floats(round_each(nans))).all()


@numba.vectorize(["float32(float32)"])
def exp_each(x):
    return elements.exp(x)


def test_exp_is_within_two_units_in_the_last_place():
    x = np.linspace(-87, 88, 1_000_003, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(exp_each(x), exact, rtol=2 * 2.0**-23)


def test_exp_at_its_ends():
    with np.errstate(invalid="ignore"):
        ends = exp_each(np.array([-np.inf, -1e30, 0, np.nan], np.float32))
    assert ends[0] == ends[1] < 1e-37
    assert ends[2] == 1
    assert np.isnan(ends[3])


@numba.njit
def gate(both, width, answer):
    elements.gate(both, width, answer)


def test_the_gate_is_gelu_of_one_half_times_the_other():
    both = 3 * draw(4, 48)
    answer = np.zeros((4, 24), np.uint16)
    gate(both, 24, answer)
    expected = jax.nn.gelu(both[:, :24], approximate=True) * both[:, 24:]
    np.testing.assert_allclose(to_floats(answer), expected, rtol=2**-8, atol=1e-6)


@numba.njit
def norm(x, scale, answer):
    elements.norm(x, scale, np.float32(1e-6), answer)


def test_the_norm_divides_by_the_root_mean_square():
    x, scale = 5 * draw(3, 16), draw(16, seed=1)
    answer = np.zeros((3, 16), np.uint16)
    norm(x, scale, answer)
    expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6) * scale
    np.testing.assert_allclose(to_floats(answer), expected, rtol=2**-8, atol=1e-6)


@numba.njit
def attend_to_kept(query, kept, columns, used, heads, width, answer):  # noqa: PLR0917
    attention.attend_to_kept(query, kept, columns, used, heads, width, answer)


def attend(query, keys, values, used):
    """Attention of one row; keys and values ``[H, C, K]`` as stored."""
    heads, columns, width = keys.shape
    kept = np.array([keys.ctypes.data, values.ctypes.data])
    answer = np.zeros(heads * width, keys.dtype)
    attend_to_kept(query, kept, columns, used, heads, width, answer)
    return read(answer).reshape(heads, width)


def softmax_attention(query, keys, values):
    """In float64."""
    logits = np.einsum("hk,hck->hc", query.astype(np.float64), keys)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hc,hck->hk", weights, values)


@pytest.mark.parametrize(
    ("heads", "columns", "width", "used"),
    [(6, 256, 64, 256), (6, 256, 64, 1), (6, 33, 64, 20), (2, 9, 4, 9), (12, 5, 80, 3)],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_query_attends_to_the_used_columns(heads, columns, width, used, precision):
    """Heads of the published width use a specialized program."""
    query = draw(heads, width)
    keys, values = (stored(draw(heads, columns, width, seed=seed), precision) for seed in (1, 2))
    answer = attend(query.ravel(), keys, values, used)
    expected = softmax_attention(query, read(keys[:, :used]), read(values[:, :used]))
    rtol, atol = (2**-8, 1e-4) if precision == "bfloat16" else (1e-5, 1e-5)
    np.testing.assert_allclose(answer, expected, rtol=rtol, atol=atol)
    keys[:, used:], values[:, used:] = stored(np.nan, precision), stored(np.nan, precision)
    np.testing.assert_array_equal(attend(query.ravel(), keys, values, used), answer)


@pytest.mark.parametrize("width", [64, 4])
@pytest.mark.parametrize("where", ["query", "keys", "values"])
def test_one_nan_shows_in_what_attends_to_it(width, where):
    query, keys, values = draw(2, width), draw(2, 8, width, seed=1), draw(2, 8, width, seed=2)
    {"query": query[1], "keys": keys[1, 3], "values": values[1, 3]}[where][2] = np.nan
    answer = attend(query.ravel(), to_bits(keys), to_bits(values), 8)
    assert np.isnan(answer[1, 2])
    assert np.isfinite(answer[0]).all()


def test_large_logits_do_not_overflow():
    keys, values = (to_bits(draw(2, 16, 64, seed=seed)) for seed in (1, 2))
    assert np.isfinite(attend(1e4 * draw(128), keys, values, 16)).all()


@numba.njit
def attend_to_itself(joined, heads, width, answer):
    attention.attend_to_itself(joined, heads, width, answer)


@pytest.mark.parametrize(("frames", "heads", "width"), [(256, 6, 64), (8, 2, 4), (34, 3, 36)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sequence_attends_to_itself(frames, heads, width, precision):
    joined = stored(draw(frames, 3 * heads * width) / np.float32(width**0.25), precision)
    answer = np.zeros((frames, heads * width + 3), joined.dtype)
    attend_to_itself(joined, heads, width, answer)
    query, keys, values = read(joined).reshape(frames, 3, heads, width).transpose(1, 0, 2, 3)
    expected = np.stack(
        [
            softmax_attention(its, keys.transpose(1, 0, 2), values.transpose(1, 0, 2))
            for its in query
        ]
    )
    ours = read(answer[:, : heads * width]).reshape(frames, heads, width)
    # In bfloat16 weights and the answer are rounded to 8 bits.
    np.testing.assert_allclose(ours, expected, atol=0.02 if precision == "bfloat16" else 1e-5)


# The two programs, against the network in JAX


def logmel_of(spec):
    return draw(spec.segment_frames, spec.spectrogram.mel_bins) - 3


SMALL = dataclasses.replace(
    MT3, network=dataclasses.replace(MT3.network, encoder_layers=2, decoder_layers=2)
)
"""The published sizes with fewer layers."""


def network_of(name):
    """(spec, parameters)."""
    if name == "tiny":
        return TINY, random_parameters(3)
    logmel = jnp.zeros((1, SMALL.segment_frames, SMALL.spectrogram.mel_bins))
    tokens = jnp.zeros((1, 2), jnp.int32)
    return SMALL, Transformer(SMALL.network).init(jax.random.key(0), logmel, tokens)["params"]


def encode_by_jax(spec, parameters, logmel, dtype):
    network = Transformer(spec.network, dtype)
    encoded = network.apply(
        {"params": parameters}, jnp.asarray(logmel)[None], method=Transformer.encode_for_generation
    )
    return np.stack(
        [[np.asarray(its)[0] for its in (layer.keys, layer.values)] for layer in encoded]
    )


def encode(packed, spec, logmel):
    network = spec.network
    shape = (network.decoder_layers, 2, network.heads, spec.segment_frames, network.head_width)
    into = np.zeros(shape, packed.encoder.kernels.dtype)
    packed.encode(logmel, into)
    return into


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_encoder_is_as_near_to_float32_as_the_networks_own_in_bfloat16(name):
    spec, parameters = network_of(name)
    logmel = logmel_of(spec)
    ours = to_floats(encode(pack_network(parameters, spec.network, "bfloat16"), spec, logmel))
    exact = encode_by_jax(spec, parameters, logmel, jnp.float32)
    theirs = encode_by_jax(spec, parameters, logmel, jnp.bfloat16)
    theirs = to_floats(to_bits(theirs))
    assert np.abs(exact).mean() > 0.1, "there is something to compare"
    assert np.abs(ours - exact).mean() < 1.2 * np.abs(theirs - exact).mean()
    assert np.abs(ours - exact).max() < 2 * np.abs(theirs - exact).max()


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_in_float32_the_encoder_is_the_networks(name):
    spec, parameters = network_of(name)
    logmel = logmel_of(spec)
    ours = encode(pack_network(parameters, spec.network, "float32"), spec, logmel)
    expected = encode_by_jax(spec, parameters, logmel, jnp.float32)
    # Sums of up to 1,024 float32 products in another order, through two layers.
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def filled(spec, rows, seed, precision="bfloat16"):
    """Past of all rows: ``[R, layers, 2, H, C, K]`` as stored."""
    network, columns = spec.network, 32
    shape = (rows, network.decoder_layers, 2, network.heads, columns, network.head_width)
    return stored(0.3 * draw(*shape, seed=seed), precision)


def kept_of(past, encoded):
    return KeptColumns(
        past=np.stack([addresses_of(its) for its in past]),
        columns=np.full(len(past), past.shape[4]),
        encoded=np.stack([addresses_of(its) for its in encoded]),
        frames=encoded.shape[4],
    )


def step_by_jax(network, parameters, tokens_and_positions, past, encoded):
    def layers(kept):
        kept = jnp.asarray(read(kept))
        return tuple(
            KeysValues(keys=kept[:, layer, 0], values=kept[:, layer, 1])
            for layer in range(kept.shape[1])
        )

    logits, _ = network.apply(
        {"params": parameters},
        *map(jnp.asarray, tokens_and_positions),
        DecoderCache(self_attention=layers(past), cross_attention=layers(encoded)),
        method=Transformer.step,
    )
    return np.asarray(logits)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_a_step_is_as_near_to_float32_as_the_networks_own_in_bfloat16(name):
    spec, parameters = network_of(name)
    past, encoded = filled(spec, 3, 1), filled(spec, 3, 2)
    tokens, positions = np.array([0, 3, 7], np.int32), np.array([0, 5, 31], np.int32)
    exact, theirs = (
        step_by_jax(
            Transformer(spec.network, dtype), parameters, (tokens, positions), past, encoded
        )
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    packed = pack_network(parameters, spec.network, "bfloat16")
    ours, normalizers = packed.step(np.arange(3), tokens, positions, kept_of(past, encoded))
    assert np.abs(exact).mean() > 0.1, "there is something to compare"
    assert np.abs(ours - exact).mean() < 1.5 * np.abs(theirs - exact).mean()
    np.testing.assert_allclose(normalizers, np.log(np.exp(ours.astype(float)).sum(axis=1)), 1e-6)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_in_float32_a_step_is_the_networks(name):
    spec, parameters = network_of(name)
    past, encoded = (filled(spec, 3, seed, "float32") for seed in (1, 2))
    tokens, positions = np.array([0, 3, 7], np.int32), np.array([0, 5, 31], np.int32)
    network = Transformer(spec.network, jnp.float32)
    expected = step_by_jax(network, parameters, (tokens, positions), past, encoded)
    packed = pack_network(parameters, spec.network, "float32")
    ours, _ = packed.step(np.arange(3), tokens, positions, kept_of(past, encoded))
    # Sums of up to 1,024 float32 products in another order, through two layers.
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def test_a_step_writes_one_column_of_each_of_its_rows_and_nothing_else():
    spec, parameters = network_of("tiny")
    past, encoded = filled(spec, 4, 1), filled(spec, 4, 2)
    before, encoded_before = past.copy(), encoded.copy()
    tokens, positions = np.array([0, 3, 7, 2], np.int32), np.array([0, 5, 31, 9], np.int32)
    rows = np.array([1, 2])
    pack_network(parameters, spec.network, "bfloat16").step(
        rows, tokens, positions, kept_of(past, encoded)
    )
    changed = np.argwhere((past != before).any(axis=(1, 2, 3, 5)))
    assert changed.tolist() == [[1, 5], [2, 31]]
    np.testing.assert_array_equal(encoded, encoded_before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_rows_step_is_the_same_to_the_bit_whatever_rows_stand_beside_it(precision):
    spec, parameters = network_of("small")
    rows = 11
    encoded = filled(spec, rows, 2, precision)
    tokens = np.arange(rows, dtype=np.int32)
    positions = np.arange(20, 20 + rows, dtype=np.int32)
    packed = pack_network(parameters, spec.network, precision)

    def step(chosen):
        kept = kept_of(past := filled(spec, rows, 1, precision), encoded)
        logits, normalizers = packed.step(np.array(chosen), tokens, positions, kept)
        return logits, normalizers, past

    together = step(range(rows))
    for row in (0, 4, 10):
        alone = step([row])
        np.testing.assert_array_equal(alone[0][0], together[0][row])
        assert alone[1][0] == together[1][row]
        np.testing.assert_array_equal(alone[2][row], together[2][row])


def test_a_processor_without_bfloat16_instructions_gives_the_same_products():
    """numba compiles for an older processor; sums are in another order, so nearly the same."""
    code = (
        "from tests.unit.cpu import test_kernels as t; from mt3_model.cpu.kernels import"
        " vectors; assert not vectors.HAS_BFLOAT16_PRODUCTS; assert vectors.LANES == 4;"
        "[(t.test_a_product_is_that_of_the_stored_operands(9, 64, 96, precision),"
        "  t.test_one_query_attends_to_the_used_columns(6, 256, 64, 256, precision))"
        " for precision in t.PRECISIONS]; print('same')"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout == "same\n", run.stderr
