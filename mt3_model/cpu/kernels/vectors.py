"""Inner loops over registers of 16 numbers, in LLVM's language: products and one query's attention.

A compiler finds vectors in loops, but neither the processors' bfloat16 instructions nor a way to
keep sums in registers across a loop over memory. Each function here is an intrinsic of numba:
given addresses, it writes out the loop. Where a processor has no instruction for pairs of bfloat16
(AVX512-BF16), they are widened; LLVM makes of 16 lanes what the processor has.
"""

# numba's intrinsics and llvmlite's builders are beyond type checkers.
# pyright: reportPrivateImportUsage=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types

from mt3_model.cpu.kernels.compiling import intrinsic

PANEL = 32
"""Output columns that are computed together: two registers of 16 sums for each row."""
MOST_ROWS = 8
"""Rows that are computed together: 16 sums hide the latency of the instruction (six cycles) and
leave registers for the operands; more rows gained nothing."""
HEAD_WIDTH = 64
"""Of all published models: one query's attention is written out for exactly that."""
_LANES = 16
_PREFETCHED_BYTES = 4_096

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_FLOATS, _WORDS, _HALVES = (ir.VectorType(type_, _LANES) for type_ in (_F32, _I32, _I16))
_ZEROS = ir.Constant(_FLOATS, [0.0] * _LANES)


# Products


@intrinsic
def multiply_panel(
    _context: Any,
    _rows: Any,
    _left: Any,
    _left_stride: Any,
    _panel: Any,
    _answer: Any,
    _answer_stride: Any,
    _pairs: Any,
) -> Any:
    """``answer[r, :PANEL] = left[r] panel`` for 1 to 8 rows; addresses and strides in bytes.

    The panel holds ``[pairs, PANEL, 2]``: for each pair of inputs, all outputs' weights of it.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        rows, left, left_stride, panel, answer, answer_stride, pairs = arguments
        done = builder.append_basic_block("multiplied")
        choice = builder.switch(rows, done)
        for count in range(1, MOST_ROWS + 1):
            block = builder.append_basic_block(f"rows_{count}")
            choice.add_case(ir.Constant(_I64, count), block)
            builder.position_at_end(block)
            starts = [_offset(builder, left, left_stride, row) for row in range(count)]
            sums = _multiply_rows(builder, starts, panel, pairs)
            for number, vector in enumerate(sums):
                row, register = divmod(number, PANEL // _LANES)
                start = _offset(builder, answer, answer_stride, row)
                _store(builder, vector, start, register)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), generate


def _multiply_rows(builder: Any, starts: Sequence[Any], panel: Any, pairs: Any) -> Any:
    """A loop over pairs of inputs; returns each row's sums, all in one list."""
    registers = PANEL // _LANES

    def add_pair(pair: Any, sums: Sequence[Any]) -> list[Any]:
        weights_at = _offset(builder, panel, pair, 4 * PANEL)
        if len(starts) > MOST_ROWS // 2:  # fewer wait for memory anyway
            _prefetch(builder, _offset(builder, weights_at, _PREFETCHED_BYTES), lines=2)
        weights = [_load(builder, weights_at, _WORDS, number) for number in range(registers)]
        added: list[Any] = []
        for row, start in enumerate(starts):
            word = _load(builder, _offset(builder, start, pair, 4), _I32)
            inputs = _in_all_lanes(builder, word)
            added += [
                _add_pairs(builder, sums[row * registers + number], inputs, of_panel)
                for number, of_panel in enumerate(weights)
            ]
        return added

    return _loop(builder, pairs, [_ZEROS] * (registers * len(starts)), add_pair)


# One query's attention


@intrinsic
def score_columns(_context: Any, _query: Any, _keys: Any, _used: Any, _scores: Any) -> Any:
    """``scores[c] = query keys[c]`` for heads of that width; all by address."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        query, keys, used, scores = arguments
        registers = range(HEAD_WIDTH // _LANES)
        queries = [_load(builder, query, _FLOATS, number) for number in registers]

        def score(column: Any, _: Sequence[Any]) -> list[Any]:
            at = _offset(builder, keys, column, 2 * HEAD_WIDTH)
            sums = _ZEROS
            for number in registers:
                sums = _multiply_add(builder, queries[number], _widen(builder, at, number), sums)
            zero = ir.Constant(_F32, 0.0)
            name = f"llvm.vector.reduce.fadd.v{_LANES}f32"
            total = _call(builder, name, _F32, zero, sums)
            total.fastmath.add("reassoc")
            into = builder.inttoptr(_offset(builder, scores, column, 4), _F32.as_pointer())
            builder.store(total, into)
            return []

        _loop(builder, used, [], score)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


@intrinsic
def mix_columns(_context: Any, _weights: Any, _values: Any, _used: Any, _mixed: Any) -> Any:
    """``mixed = sum(weights[c] values[c])`` for heads of that width; all by address."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        weights, values, used, mixed = arguments
        registers = range(HEAD_WIDTH // _LANES)

        def add(column: Any, sums: Sequence[Any]) -> list[Any]:
            at = _offset(builder, values, column, 2 * HEAD_WIDTH)
            weight = _in_all_lanes(
                builder, _load(builder, _offset(builder, weights, column, 4), _F32)
            )
            return [
                _multiply_add(builder, weight, _widen(builder, at, number), sums[number])
                for number in registers
            ]

        for number, vector in enumerate(_loop(builder, used, [_ZEROS for _ in registers], add)):
            _store(builder, vector, mixed, number)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


def _widen(builder: Any, address: Any, number: int) -> Any:
    """The ``number``-th 16 of some bfloat16, as floats."""
    words = builder.zext(_load(builder, address, _HALVES, number), _WORDS)
    return builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [16] * _LANES)), _FLOATS)


def _multiply_add(builder: Any, left: Any, right: Any, sums: Any) -> Any:
    return _call(builder, f"llvm.fma.v{_LANES}f32", _FLOATS, left, right, sums)


# LLVM's language


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def has_bfloat16_products() -> bool:
    """Whether numba compiles for a processor that multiplies pairs of bfloat16 (AVX512-BF16)."""
    chosen: str | None = getattr(numba.config, "CPU_FEATURES", None)
    if chosen is not None:
        return "+avx512bf16" in chosen
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16", False))


def _add_pairs(builder: Any, sums: Any, left: Any, right: Any) -> Any:
    """``sums + left[0] right[0] + left[1] right[1]`` in 16 lanes, each a word of two bfloat16."""
    if has_bfloat16_products():
        pairs = ir.VectorType(_BFloat(), 2 * _LANES)
        operands = [sums, *(builder.bitcast(words, pairs) for words in (left, right))]
        return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, *operands)
    half, upper = (ir.Constant(_WORDS, [number] * _LANES) for number in (16, 0xFFFF0000))
    for widen in (lambda w: builder.shl(w, half), lambda w: builder.and_(w, upper)):
        factors = [builder.bitcast(widen(word), _FLOATS) for word in (left, right)]
        sums = builder.fadd(sums, builder.fmul(*factors, flags=["contract"]), flags=["contract"])
    return sums


def _offset(builder: Any, address: Any, factor: Any, other: int = 1) -> Any:
    """``address + factor * other``, in bytes."""
    if isinstance(factor, int):
        return builder.add(address, ir.Constant(_I64, factor * other))
    return builder.add(address, builder.mul(factor, ir.Constant(_I64, other)))


def _load(builder: Any, address: Any, type_: Any, number: int = 0) -> Any:
    """The ``number``-th of some words or vectors of words, wherever they begin."""
    lanes = getattr(type_, "count", 1)
    width = 2 if getattr(type_, "element", type_) == _I16 else 4
    at = _offset(builder, address, width * lanes * number)
    return builder.load(builder.inttoptr(at, type_.as_pointer()), align=width, typ=type_)


def _store(builder: Any, vector: Any, address: Any, number: int) -> None:
    at = _offset(builder, address, 4 * _LANES * number)
    builder.store(vector, builder.inttoptr(at, _FLOATS.as_pointer()), align=4)


def _in_all_lanes(builder: Any, word: Any) -> Any:
    vector = ir.VectorType(word.type, _LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, word, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * _LANES))


def _call(builder: Any, name: str, answer: Any, *arguments: Any) -> Any:
    """Calls an intrinsic function of LLVM's."""
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(answer, [each.type for each in arguments]), name
    )
    return builder.call(function, arguments)


def _prefetch(builder: Any, address: Any, *, lines: int) -> None:
    """Has cache lines read ahead of their use: the processor by itself stops at a page's end."""
    read, near, data = (ir.Constant(_I32, number) for number in (0, 3, 1))
    for line in range(lines):
        at = builder.inttoptr(_offset(builder, address, 64 * line), _I8.as_pointer())
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), at, read, near, data)


def _loop(
    builder: Any,
    count: Any,
    carried: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Runs ``carried = body(number, carried)`` at least once; returns the last ones."""
    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("looped")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(_I64)
    values = [builder.phi(value.type) for value in carried]
    changed = list(body(number, values))
    following = builder.add(number, ir.Constant(_I64, 1))
    phis = zip(
        (number, *values),
        (ir.Constant(_I64, 0), *carried),
        (following, *changed),
        strict=True,
    )
    for phi, first, next_ in phis:
        phi.add_incoming(first, before)
        phi.add_incoming(next_, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return changed
