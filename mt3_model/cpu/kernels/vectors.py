"""Inner loops over vector registers, in LLVM IR: products and one query's attention.

Compilers vectorize loops, but they neither use the processors' bfloat16 instructions nor keep sums
in registers across a loop over memory. Each function here is a numba intrinsic that takes
addresses and generates such a loop.

Operands are stored as float32, or as bfloat16 (in uint16). A product reads them as 32-bit words,
one float32 or a pair of bfloat16. Pairs are multiplied by AVX512-BF16 where the processor has it;
elsewhere both halves are widened to float32, which is exact. The array given first to each
intrinsic says which of the two is stored.
"""

# numba's intrinsics and llvmlite's builders are beyond type checkers.
# pyright: reportPrivateImportUsage=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from mt3_model.cpu.kernels.compiling import intrinsic
from mt3_model.cpu.processor import processor_features

_FEATURES = processor_features()


def _lanes() -> int:
    if "avx512f" in _FEATURES:
        return 16
    return 8 if "avx2" in _FEATURES else 4


LANES = _lanes()
"""float32 numbers in a vector register: 16 with AVX-512, 8 with AVX2, 4 with NEON or SSE."""
HAS_BFLOAT16_PRODUCTS = "avx512bf16" in _FEATURES
PANEL = 32 if LANES == 16 else 16  # noqa: PLR2004
"""Output columns that are computed together: two registers of sums for each row (NEON: four)."""
FLOAT32_ROWS, BFLOAT16_ROWS = (8, 8) if LANES == 16 else (6, 4)  # noqa: PLR2004
"""Rows that are computed together. AVX-512 has 32 registers: 16 sums hide the latency of the
instruction (six cycles), and more gained nothing. AVX2 has 16 registers: 12 sums, two weights and
an input fill them; widening bfloat16 needs four more (6 rows: half the rate of 4)."""
CACHE_LINE = 64
"""Bytes."""
HEAD_WIDTH = 64
"""Head width of all published models; one query's attention is generated for exactly that."""

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F32 = ir.FloatType()
_FLOATS, _WORDS, _HALVES = (ir.VectorType(type_, LANES) for type_ in (_F32, _I32, _I16))
_ZEROS = ir.Constant(_FLOATS, [0.0] * LANES)


# Products


@intrinsic
def multiply_panel(
    _context: Any,
    stored: Any,
    _rows: Any,
    _left: Any,
    _left_stride: Any,
    _panel: Any,
    _answer: Any,
    _answer_stride: Any,
    _words: Any,
    _following: Any,
    _following_stride: Any,
) -> Any:
    """``answer[r, :PANEL] = left[r] panel`` for a few rows; addresses and strides in bytes.

    The panel holds ``[words, PANEL]`` 32-bit words: for each word of a row, the weights of all its
    outputs. With each word, memory is prefetched from ``following`` on, at the given stride.
    """
    is_float32 = stored.dtype == types.float32
    most_rows = FLOAT32_ROWS if is_float32 else BFLOAT16_ROWS
    add_word = _add_float if is_float32 else _add_pair

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, rows, left, left_stride, panel, answer, answer_stride, words, *following = arguments
        done = builder.append_basic_block("multiplied")
        choice = builder.switch(rows, done)
        for count in range(1, most_rows + 1):
            block = builder.append_basic_block(f"rows_{count}")
            choice.add_case(ir.Constant(_I64, count), block)
            builder.position_at_end(block)
            starts = [_offset(builder, left, left_stride, row) for row in range(count)]
            sums = _multiply_rows(builder, starts, panel, words, add_word, following)
            for number, vector in enumerate(sums):
                row, register = divmod(number, PANEL // LANES)
                start = _offset(builder, answer, answer_stride, row)
                _store(builder, vector, start, register)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(stored, *[types.intp] * 9), generate


def _multiply_rows(  # noqa: PLR0917 (a part of `multiply_panel`)
    builder: Any,
    starts: Sequence[Any],
    panel: Any,
    words: Any,
    add_word: Any,
    following: Sequence[Any],
) -> Any:
    """Generate the loop over input words; return the sums of each row, all in one list."""
    registers = PANEL // LANES
    ahead, stride = following

    def add(word: Any, sums: Sequence[Any]) -> list[Any]:
        weights_at = _offset(builder, panel, word, 4 * PANEL)
        prefetched = builder.add(ahead, builder.mul(word, stride))
        _prefetch(builder, prefetched, lines=4 * PANEL // CACHE_LINE)
        weights = [_load(builder, weights_at, _WORDS, number) for number in range(registers)]
        added: list[Any] = []
        for row, start in enumerate(starts):
            inputs = _broadcast(builder, _load(builder, _offset(builder, start, word, 4), _I32))
            added += [
                add_word(builder, sums[row * registers + number], inputs, vector)
                for number, vector in enumerate(weights)
            ]
        return added

    return _loop(builder, words, [_ZEROS] * (registers * len(starts)), add)


def _add_float(builder: Any, sums: Any, left: Any, right: Any) -> Any:
    """``sums + left right``, each word a float32."""
    first, second = (builder.bitcast(words, _FLOATS) for words in (left, right))
    return _multiply_add(builder, first, second, sums)


def _add_pair(builder: Any, sums: Any, left: Any, right: Any) -> Any:
    """``sums + left[0] right[0] + left[1] right[1]``, each word a pair of bfloat16."""
    if HAS_BFLOAT16_PRODUCTS:
        pairs = ir.VectorType(_BFloat(), 2 * LANES)
        operands = [sums, *(builder.bitcast(words, pairs) for words in (left, right))]
        return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, *operands)
    half, upper = (ir.Constant(_WORDS, [number] * LANES) for number in (16, 0xFFFF0000))
    for widen in (lambda w: builder.shl(w, half), lambda w: builder.and_(w, upper)):
        factors = [builder.bitcast(widen(word), _FLOATS) for word in (left, right)]
        sums = builder.fadd(sums, builder.fmul(*factors, flags=["contract"]), flags=["contract"])
    return sums


# One query's attention


@intrinsic
def score_columns(
    _context: Any, stored: Any, _query: Any, _keys: Any, _used: Any, _scores: Any
) -> Any:
    """``scores[c] = query keys[c]`` for heads of `HEAD_WIDTH`; all by address."""
    width, load = _stored_vectors(stored)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, query, keys, used, scores = arguments
        registers = range(HEAD_WIDTH // LANES)
        queries = [_load(builder, query, _FLOATS, number) for number in registers]

        def score(column: Any, _: Sequence[Any]) -> list[Any]:
            at = _offset(builder, keys, column, width * HEAD_WIDTH)
            sums = _ZEROS
            for number in registers:
                sums = _multiply_add(builder, queries[number], load(builder, at, number), sums)
            zero = ir.Constant(_F32, 0.0)
            name = f"llvm.vector.reduce.fadd.v{LANES}f32"
            total = _call(builder, name, _F32, zero, sums)
            total.fastmath.add("reassoc")
            into = builder.inttoptr(_offset(builder, scores, column, 4), _F32.as_pointer())
            builder.store(total, into)
            return []

        _loop(builder, used, [], score)
        return context.get_dummy_value()

    return types.void(stored, *[types.intp] * 4), generate


@intrinsic
def mix_columns(
    _context: Any, stored: Any, _weights: Any, _values: Any, _used: Any, _mixed: Any
) -> Any:
    """``mixed += sum(weights[c] values[c])`` for heads of `HEAD_WIDTH`; all by address."""
    width, load = _stored_vectors(stored)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, weights, values, used, mixed = arguments
        registers = range(HEAD_WIDTH // LANES)

        def add(column: Any, sums: Sequence[Any]) -> list[Any]:
            at = _offset(builder, values, column, width * HEAD_WIDTH)
            weight = _broadcast(builder, _load(builder, _offset(builder, weights, column, 4), _F32))
            return [
                _multiply_add(builder, weight, load(builder, at, number), sums[number])
                for number in registers
            ]

        before = [_load(builder, mixed, _FLOATS, number) for number in registers]
        for number, vector in enumerate(_loop(builder, used, before, add)):
            _store(builder, vector, mixed, number)
        return context.get_dummy_value()

    return types.void(stored, *[types.intp] * 4), generate


def _stored_vectors(stored: Any) -> tuple[int, Any]:
    """Return the bytes of a stored number, and the function that loads a register of them."""
    if stored.dtype == types.float32:
        return 4, lambda builder, address, number: _load(builder, address, _FLOATS, number)
    return 2, _load_bfloat16


def _load_bfloat16(builder: Any, address: Any, number: int) -> Any:
    """Load the ``number``-th register of some bfloat16, widened to float32."""
    words = builder.zext(_load(builder, address, _HALVES, number), _WORDS)
    return builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [16] * LANES)), _FLOATS)


def _multiply_add(builder: Any, left: Any, right: Any, sums: Any) -> Any:
    return _call(builder, f"llvm.fma.v{LANES}f32", _FLOATS, left, right, sums)


# LLVM's language


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def _offset(builder: Any, address: Any, factor: Any, other: int = 1) -> Any:
    """``address + factor * other``, in bytes."""
    if isinstance(factor, int):
        return builder.add(address, ir.Constant(_I64, factor * other))
    return builder.add(address, builder.mul(factor, ir.Constant(_I64, other)))


def _load(builder: Any, address: Any, type_: Any, number: int = 0) -> Any:
    """Load the ``number``-th word or vector of words from an address of any alignment."""
    lanes = getattr(type_, "count", 1)
    width = 2 if getattr(type_, "element", type_) == _I16 else 4
    at = _offset(builder, address, width * lanes * number)
    return builder.load(builder.inttoptr(at, type_.as_pointer()), align=width, typ=type_)


def _store(builder: Any, vector: Any, address: Any, number: int) -> None:
    at = _offset(builder, address, 4 * LANES * number)
    builder.store(vector, builder.inttoptr(at, _FLOATS.as_pointer()), align=4)


def _broadcast(builder: Any, word: Any) -> Any:
    """Return a vector with the word in all lanes."""
    vector = ir.VectorType(word.type, LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, word, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * LANES))


def _call(builder: Any, name: str, answer: Any, *arguments: Any) -> Any:
    """Call one of LLVM's intrinsic functions."""
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(answer, [each.type for each in arguments]), name
    )
    return builder.call(function, arguments)


def _prefetch(builder: Any, address: Any, *, lines: int) -> None:
    read, near, data = (ir.Constant(_I32, number) for number in (0, 3, 1))
    for line in range(lines):
        at = builder.inttoptr(_offset(builder, address, CACHE_LINE * line), _I8.as_pointer())
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), at, read, near, data)


def _loop(
    builder: Any,
    count: Any,
    carried: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Generate ``carried = body(number, carried)``, run at least once; return the last values."""
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
