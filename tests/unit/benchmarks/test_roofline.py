"""The model's work against counts by hand and by XLA; the machine's rates, within wide limits."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from mt3_model.generation.state import empty_state
from mt3_model.network.params import parameter_shapes
from mt3_model.network.transformer import Transformer
from mt3_model.spec import MT3
from tests.benchmarks.limits import roofline
from tests.benchmarks.limits.roofline import Widths, Work, bytes_of, encode_work, flops_of
from tests.unit.generation.tiny_model import TINY

pytestmark = pytest.mark.slow


# TINY: T 8 frames, F 512, D 16, J 2 x 4 = 8, M 24, V 12, two layers each, 1,025 FFT bins.
MEL = 2 * 8 * 1_025 * 512
ENCODER = 2 * 8 * 512 * 16 + 2 * (2 * 8 * (4 * 16 * 8 + 3 * 16 * 24) + 4 * 8 * 8 * 8)
CROSS = 2 * (2 * 2 * 8 * 16 * 8)
# The MT3 sizes, but two layers of each: enough for XLA to count, quick to compile.
SHALLOW = dataclasses.replace(
    MT3, network=dataclasses.replace(MT3.network, encoder_layers=2, decoder_layers=2)
)


def test_encoding_is_counted_by_hand():
    work = encode_work(TINY, segments=3, batch=1, widths=Widths())
    assert work.flops == 3 * (MEL + ENCODER + CROSS)


def test_encoding_reads_its_parameters_once_a_batch_and_writes_keys_and_values():
    encoder = 512 * 16 + 16 + 2 * (2 * 16 + 4 * 16 * 8 + 3 * 16 * 24)
    cross_kernels = 2 * 2 * 16 * 8
    keys_values = 2 * 2 * 8 * 8
    work = encode_work(TINY, segments=8, batch=4, widths=Widths(parameter=2, cache=4))
    assert work.bytes_moved == 2 * 2 * (encoder + cross_kernels) + 8 * 4 * keys_values


def test_generating_is_counted_by_hand():
    # One segment of three tokens: self-attention sees 1, 2 and 3 columns.
    kernels = 2 * (6 * 16 * 8 + 3 * 16 * 24)
    attention = [4 * columns * 8 + 4 * 8 * 8 for columns in (1, 2, 3)]
    expected = sum(2 * (kernels + seen) + 2 * 16 * 12 for seen in attention)
    work = roofline.generate_work(TINY, segments=1, tokens=3, rows=1, widths=Widths())
    assert work.flops == expected


def test_all_rows_of_a_step_share_the_parameters_and_none_the_keys_and_values():
    parameters = 2 * (6 * 16 * 8 + 3 * 16 * 24) + 16 * 12
    own = 2 * 2 * 8 * (1 + 8)  # one column of its own, eight of the encoder
    widths = Widths(parameter=2, cache=4)
    work = roofline.generate_work(TINY, segments=4, tokens=4, rows=4, widths=widths)
    assert work.bytes_moved == parameters * 2 + 4 * own * 4


def test_a_recording_is_both():
    whole = flops_of(TINY, segments=2, tokens=6)
    encode = encode_work(TINY, segments=2, batch=2, widths=Widths())
    generate = roofline.generate_work(TINY, segments=2, tokens=6, rows=2, widths=Widths())
    assert whole == (encode + generate).flops
    moved = bytes_of(TINY, segments=2, tokens=6, batch=2, rows=2, widths=Widths())
    assert moved == (encode + generate).bytes_moved


def test_all_parameters_but_embedding_and_the_decoders_norms_are_read():
    one = bytes_of(MT3, segments=1, tokens=1, batch=1, rows=1, widths=Widths(parameter=1, cache=0))
    left_out = {
        path: math.prod(shape)
        for path, shape in parameter_shapes(MT3.network).items()
        if path == "decoder/token_embedder/embedding"
        or (path.startswith("decoder/") and path.endswith("scale"))
    }
    assert len(left_out) == 1 + 3 * 8 + 1
    total = sum(map(math.prod, parameter_shapes(MT3.network).values()))
    assert one == total - sum(left_out.values())


def parameters_of(spec):
    logmel = jax.ShapeDtypeStruct((1, spec.segment_frames, spec.spectrogram.mel_bins), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    network = Transformer(spec.network)
    return jax.eval_shape(network.init, jax.random.key(0), logmel, tokens)["params"], logmel


def xla_flops(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_xla_counts_the_same_flops_for_encoding():
    parameters, logmel = parameters_of(SHALLOW)

    def encode(parameters, logmel):
        return Transformer(SHALLOW.network).apply(
            {"params": parameters}, logmel, method=Transformer.encode_for_generation
        )

    mel = 2 * 256 * 1_025 * 512
    ours = encode_work(SHALLOW, segments=1, batch=1, widths=Widths()).flops - mel
    theirs = xla_flops(encode, parameters, logmel)
    # XLA counts norms, softmax and GELU too: 1.3 % here.
    assert ours <= theirs < 1.04 * ours


def test_xla_counts_the_same_flops_for_a_token():
    rows, columns = 4, 64
    parameters, _ = parameters_of(SHALLOW)
    # Flat, because JAX's descriptions of arguments are no arrays, which the shape checks refuse.
    leaves, form = jax.tree.flatten(empty_state(SHALLOW, rows, columns, jnp.float32).cache)
    numbers = jax.ShapeDtypeStruct((rows,), jnp.int32)

    def step(parameters, tokens, positions, leaves):
        cache = jax.tree.unflatten(form, leaves)
        return Transformer(SHALLOW.network).apply(
            {"params": parameters}, tokens, positions, cache, method=Transformer.step
        )[0]

    # A program attends to all columns: as many as tokens whose mean column count is 64.
    tokens = 2 * columns - 1
    work = roofline.generate_work(SHALLOW, segments=1, tokens=tokens, rows=1, widths=Widths())
    ours = rows * work.flops / tokens
    theirs = xla_flops(step, parameters, numbers, numbers, leaves)
    assert ours <= theirs < 1.04 * ours


def test_precision_says_how_wide_numbers_are():
    assert roofline.widths_of("float32") == Widths(parameter=4, cache=4)
    assert roofline.widths_of("bfloat16") == Widths(parameter=2, cache=2)


@pytest.fixture(scope="module")
def limits():
    return roofline.measure_limits(TINY, encode_rows=64, step_rows=8, read_bytes=1 << 22)


def test_limits_are_measured_at_the_networks_shapes(limits):
    for rates, rows in ((limits.encode, 64), (limits.generate, 8)):
        assert set(rates) == set(roofline.PRECISIONS)
        for precision, rate in rates.items():
            assert (rate.rows, rate.inner, rate.columns) == (rows, 16, 24)
            assert rate.precision == precision
            # From a thousandth of one core's peak to a thousand times the fastest device's.
            assert 1e6 < rate.flops_per_second < 1e18
    assert 1e7 < limits.bytes_per_second < 1e15


def test_the_longer_of_computing_and_moving_is_the_limit(limits):
    rate = dataclasses.replace(limits.encode["float32"], flops_per_second=100.0)
    fixed = dataclasses.replace(limits, bytes_per_second=10.0)
    computing, moving = Work(flops=300.0, bytes_moved=20.0), Work(flops=300.0, bytes_moved=50.0)
    assert (fixed.seconds(computing, rate), fixed.bound(computing, rate)) == (3.0, "compute")
    assert (fixed.seconds(moving, rate), fixed.bound(moving, rate)) == (5.0, "memory")


def test_more_work_takes_proportionally_longer():
    """A loop that XLA had optimized away would seem to have any rate."""
    small = roofline.measure_gemm(256, 128, 256, "float32").flops_per_second
    large = roofline.measure_gemm(1_024, 256, 512, "float32").flops_per_second
    assert 1 / 20 < small / large < 20
