"""Compute a roofline: the rates that a device reaches at most, and the work of the model.

The *limit* of a piece of work is the least time this machine could need for it: its floating-point
operations (FLOPs) at the rate of a matrix product (GEMM) of the network's own shape, or the bytes
it must move at the rate of reading memory, whichever takes longer; both rates are measured in the
same run. A *share* of 80 % then says that the work took a quarter longer than that least time. The
rest may be out of reach: norms, softmax, attention's small products and idle slots are in the time
and not in the limit. A share may exceed 100 % where a cache serves what is counted as read.

The count is what the model needs, not what a program does: no padding, no idle slot, no
column past a row's position; a multiplication and an addition are two FLOPs. Left out, because
they are less than a fiftieth together: norms, softmax, GELU, the Fourier transform, selection.

Measuring needs programs of its own, so this module calls ``jax.jit`` beside `steps.py`.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from mt3_model.generation.precision import operand_dtype
from mt3_model.network.params import parameter_shapes
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec, NetworkSpec

Bound = Literal["compute", "memory"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_LEAST_SECONDS = 0.15
"""Length of one measurement: about a thousand times the dispatch of a program."""
_AT_ONCE = 8
"""Products in one turn of a loop: after each turn a GPU waits for the host's loop condition."""
_TRIES = 5
"""The fastest try counts: disturbances only make a measurement slower."""
READ_BYTES_CPU, READ_BYTES_ACCELERATOR = 512 << 20, 2 << 30
"""Sizes of the array to read: more than the last caches of usual processors (32 to 384 MiB)
and of accelerators (50 to 256 MiB)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Widths:
    """Bytes of one stored number."""

    parameter: int = 4
    cache: int = 4
    """Bytes of a number in keys and values."""


def widths_of(precision: Precision) -> Widths:
    """Return the widths in which `precision.py` stores parameters and caches."""
    width = jnp.dtype(operand_dtype(precision)).itemsize
    return Widths(parameter=width, cache=width)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Least operations and memory traffic of a piece of work."""

    flops: float
    """Floating-point operations."""
    bytes_moved: float
    """Parameters, keys and values read, and keys and values written by encoding."""

    def __add__(self, other: "Work") -> "Work":
        """Return the sum of both."""
        return Work(
            flops=self.flops + other.flops, bytes_moved=self.bytes_moved + other.bytes_moved
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GemmRate:
    """The measured rate of products ``[rows, inner] x [inner, columns]`` and back."""

    rows: int
    inner: int
    columns: int
    precision: Precision
    """Precision of the operands; sums are float32."""
    flops_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The measured rates of one device."""

    encode: dict[Precision, GemmRate]
    """At the shape of an encode batch's MLP."""
    generate: dict[Precision, GemmRate]
    """At the shape of a generation step's MLP."""
    bytes_per_second: float
    """Rate of reading memory."""

    def seconds(self, work: Work, rate: GemmRate) -> float:
        """Return the least time of one device: computing or moving, whichever takes longer."""
        return max(work.flops / rate.flops_per_second, work.bytes_moved / self.bytes_per_second)

    def bound(self, work: Work, rate: GemmRate) -> Bound:
        """Return the name of the rate that takes longer."""
        computing = work.flops / rate.flops_per_second
        return "compute" if computing >= work.bytes_moved / self.bytes_per_second else "memory"


# Work of the model


def encode_work(spec: ModelSpec, *, segments: int, batch: int, widths: Widths) -> Work:
    """Count the work from segments' samples to cross-attention keys and values.

    Per segment of T frames, with width D, J = heads x head width, M the MLP's width: the mel matrix
    ``2 T (fft_size/2 + 1) F``; the input projection ``2 T F D``; per encoder layer four attention
    kernels and three of the gated MLP ``2 T (4 D J + 3 D M)`` and attention itself ``4 T^2 J``; per
    decoder layer its keys and values ``4 T D J``. Source: network/encoder.py, network/params.py.

    Args:
        spec: the model's spec.
        segments: number of segments; a partial batch counts by its part.
        batch: segments that share one reading of the parameters.
        widths: bytes of a number in parameters, keys and values.
    """
    network, frames = spec.network, spec.segment_frames
    joined = network.heads * network.head_width
    front = spec.spectrogram.fft_size // 2 + 1
    flops = 2 * frames * spec.spectrogram.mel_bins * front
    flops += 2 * frames * network.input_width * network.width
    kernels = 4 * network.width * joined + 3 * network.width * network.mlp_width
    flops += network.encoder_layers * (2 * frames * kernels + 4 * frames**2 * joined)
    flops += network.decoder_layers * 4 * frames * network.width * joined
    kept = network.decoder_layers * 2 * frames * joined
    read = _encoder_parameters(network) / batch
    return Work(
        flops=float(segments * flops),
        bytes_moved=segments * (read * widths.parameter + kept * widths.cache),
    )


def generate_work(
    spec: ModelSpec, *, segments: int, tokens: int, rows: int, widths: Widths
) -> Work:
    """Count the work of generating the tokens of encoded segments, ``rows`` segments at a time.

    Per token, in every decoder layer: six kernels of attention (self-attention's four, query and
    out of cross-attention) and three of the MLP ``2 (6 D J + 3 D M)``; self-attention over the C
    columns so far ``4 C J``; cross-attention over T frames ``4 T J``; once the logits ``2 D V``.
    C is on average ``(n + 1) / 2`` for segments of n tokens each. Per step the decoder's
    parameters are read once for all rows, and every row's keys and values. Source:
    network/decoder.py, network/params.py.

    Args:
        spec: the model's spec.
        segments: number of segments, assumed to be of equal length.
        tokens: tokens of all segments together, end tokens included.
        rows: segments that share one reading of the parameters: the taken slots.
        widths: bytes of a number in parameters, keys and values.
    """
    network = spec.network
    joined = network.heads * network.head_width
    columns = (tokens / segments + 1) / 2
    attended = columns + spec.segment_frames
    kernels = 6 * network.width * joined + 3 * network.width * network.mlp_width
    flops = network.decoder_layers * (2 * kernels + 4 * attended * joined)
    logits = network.width * network.vocabulary_size
    flops += 2 * logits
    shared = network.decoder_layers * kernels + logits
    own = network.decoder_layers * 2 * attended * joined
    return Work(
        flops=float(tokens * flops),
        bytes_moved=tokens * (shared / rows * widths.parameter + own * widths.cache),
    )


def flops_of(spec: ModelSpec, *, segments: int, tokens: int) -> float:
    """Return the FLOPs of a whole recording: `encode_work` and `generate_work` together."""
    encode = encode_work(spec, segments=segments, batch=1, widths=Widths())
    generate = generate_work(spec, segments=segments, tokens=tokens, rows=1, widths=Widths())
    return (encode + generate).flops


def bytes_of(
    spec: ModelSpec, *, segments: int, tokens: int, batch: int, rows: int, widths: Widths
) -> float:
    """Return the bytes moved for a whole recording: `encode_work` and `generate_work` together."""
    encode = encode_work(spec, segments=segments, batch=batch, widths=widths)
    generate = generate_work(spec, segments=segments, tokens=tokens, rows=rows, widths=widths)
    return (encode + generate).bytes_moved


def _encoder_parameters(network: NetworkSpec) -> int:
    """Count the parameters that encoding reads, cross-attention's keys and values included."""
    return sum(
        math.prod(shape)
        for path, shape in parameter_shapes(network).items()
        if path.startswith("encoder/")
        or path.endswith(
            ("encoder_decoder_attention/key/kernel", "encoder_decoder_attention/value/kernel")
        )
    )


# Rates of the device


def measure_limits(
    spec: ModelSpec, *, encode_rows: int, step_rows: int, read_bytes: int | None = None
) -> Limits:
    """Measure the device that JAX computes on; takes about ten seconds on two CPU cores.

    Args:
        spec: the model's spec, for its width and MLP width.
        encode_rows: frames of an encode batch.
        step_rows: number of slots.
        read_bytes: size of the array to read; by default larger than usual caches.
    """
    if read_bytes is None:
        is_cpu = jax.default_backend() == "cpu"
        read_bytes = READ_BYTES_CPU if is_cpu else READ_BYTES_ACCELERATOR
    network = spec.network

    def rates(rows: int) -> dict[Precision, GemmRate]:
        return {
            precision: measure_gemm(rows, network.width, network.mlp_width, precision)
            for precision in PRECISIONS
        }

    return Limits(
        encode=rates(encode_rows),
        generate=rates(step_rows),
        bytes_per_second=measure_reading(read_bytes),
    )


def measure_gemm(rows: int, inner: int, columns: int, precision: Precision) -> GemmRate:
    """Measure products ``[rows, inner] x [inner, columns]`` and back, in a loop on the device.

    The loop excludes a program's dispatch from the figure. The kernel's rows are orthonormal and
    the way back is its transpose, so that the numbers neither grow nor vanish in a long loop.
    float32 operands are multiplied exactly, as `steps.py` has it; bfloat16 ones are summed
    in float32, which is how CPUs with such units are fast.

    Args:
        rows: rows of the activations.
        inner: width of the activations; at most ``columns``.
        columns: columns of the kernel.
        precision: precision of the operands.
    """
    assert inner <= columns, "orthonormal rows need as many columns"
    random = np.random.default_rng(0)
    orthonormal = np.linalg.qr(random.standard_normal((columns, inner)))[0]
    dtype = operand_dtype(precision)
    there, back = jnp.asarray(orthonormal.T, dtype), jnp.asarray(orthonormal, dtype)
    activations = jnp.asarray(random.standard_normal((rows, inner)), dtype)

    def multiply(left: Any, right: Any) -> Any:
        return jnp.matmul(left, right, preferred_element_type=jnp.float32).astype(dtype)

    def repeat(count: Any, x: Any, there: Any, back: Any) -> Any:
        def turn(_: Any, y: Any) -> Any:
            for _ in range(_AT_ONCE // 2):
                y = multiply(multiply(y, there), back)
            return y

        return jax.lax.fori_loop(0, count, turn, x)

    exact = "highest" if precision == "float32" else "default"
    with jax.default_matmul_precision(exact):
        seconds = _seconds_of_turn(jax.jit(repeat), activations, there, back)
    return GemmRate(
        rows=rows,
        inner=inner,
        columns=columns,
        precision=precision,
        flops_per_second=_AT_ONCE * 2 * rows * inner * columns / seconds,
    )


def measure_reading(size_bytes: int) -> float:
    """Measure the rate of reading a large array, in bytes per second.

    A square float32 matrix times a vector, over and over: of the forms tried on a CPU (sums along
    either axis, a copy, batched products) this one reads fastest.

    Args:
        size_bytes: approximate size of the matrix.
    """
    side = math.isqrt(size_bytes // 4)
    matrix = jnp.full((side, side), 1 / side, jnp.float32)  # its product with ones is ones

    def repeat(count: Any, vector: Any, matrix: Any) -> Any:
        def turn(_: Any, x: Any) -> Any:
            for _ in range(_AT_ONCE):
                x = matrix @ x
            return x

        return jax.lax.fori_loop(0, count, turn, vector)

    with jax.default_matmul_precision("highest"):
        seconds = _seconds_of_turn(jax.jit(repeat), jnp.ones(side, jnp.float32), matrix)
    return _AT_ONCE * 4 * side**2 / seconds


def _seconds_of_turn(repeat: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds of one turn of ``repeat(count, ...)``, from a run with many turns."""

    def timed(count: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(repeat(jnp.int32(count), *arguments))
        return time.perf_counter() - began

    timed(1)  # compiles
    count = 1
    while (seconds := timed(count)) < _LEAST_SECONDS / 2:
        count = math.ceil(count * min(_LEAST_SECONDS / max(seconds, 1e-9), 10.0))
    return min(timed(count) for _ in range(_TRIES)) / count
