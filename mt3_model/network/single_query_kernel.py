"""The CPU kernels of `single_query.py`, compiled by numba when this module is imported.

Only what its subset of Python allows: plain loops over arrays. bfloat16 comes as uint16 and is the
upper half of a float32.

The call frame is read as 64-bit words, by the layout of `xla/ffi/api/c_api.h` (jaxlib 0.10):

    XLA_FFI_CallFrame          1 extension_start · 7 args.size · 9 args.args · 14 rets.rets
    XLA_FFI_Buffer             3 data · 5 dims
    XLA_FFI_Metadata_Extension 1 type (32 bits) · 3 metadata
    XLA_FFI_Metadata           3 api_version.major and .minor (32 bits each) · 4 traits
"""

# numba's decorators and intrinsics are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import inspect
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

_METADATA_EXTENSION = 1
_API_MINOR = 3
_USUAL_WIDTH = 64
"""Head width of all published models: its loops are compiled for exactly that."""


def _intrinsic(function: Any) -> Any:
    """`numba.extending.intrinsic`, in the same way."""
    return intrinsic(inspect.unwrap(function))


def _compiled(**options: Any) -> Any:
    """`numba.njit` of the function as it is written.

    The test run wraps all functions of this package to check their arguments' shapes, in a way
    that numba cannot compile.
    """

    def compile_function(function: Any) -> Any:
        return numba.njit(fastmath=True, error_model="numpy", **options)(inspect.unwrap(function))

    return compile_function


@_intrinsic
def _pointer(_context: Any, _address: Any) -> Any:
    """An address as a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), generate


@_intrinsic
def _float_of_bits(_context: Any, _bits: Any) -> Any:
    """32 bits as a float32."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@_compiled(inline="always")
def _widened(bfloat16: Any) -> Any:
    return _float_of_bits(np.uint32(bfloat16) << np.uint32(16))


@_compiled(inline="always")
def _attend(  # noqa: PLR0917 (numba compiles positional arguments best)
    query: Any, keys: Any, values: Any, used: Any, answer: Any, first: Any, width: int
) -> None:
    """``answer[i] = softmax(query[r, h] keys[r, h]^T) values[r, h]``, the (r, h) from the first."""
    weights = np.empty(keys.shape[2], np.float32)
    mixed = np.empty(width, np.float32)
    for i in range(answer.shape[0]):
        row, head = divmod(first + i, keys.shape[1])
        columns = used[row]
        largest = np.float32(-np.inf)
        for column in range(columns):
            logit = np.float32(0)
            for k in range(width):
                logit += query[row, head, k] * _widened(keys[row, head, column, k])
            weights[column] = logit
            largest = max(largest, logit)
        total = np.float32(0)
        for column in range(columns):
            weights[column] = np.exp(weights[column] - largest)
            total += weights[column]
        for k in range(width):
            mixed[k] = 0
        for column in range(columns):
            weight = weights[column]
            for k in range(width):
                mixed[k] += weight * _widened(values[row, head, column, k])
        for k in range(width):
            answer[i, k] = mixed[k] / total


@_compiled(inline="always")
def _data(buffer: Any) -> Any:
    return carray(_pointer(buffer), 6, np.intp)[3]


@_compiled(inline="always")
def _dimensions(buffer: Any, rank: int) -> Any:
    return carray(_pointer(carray(_pointer(buffer), 6, np.intp)[5]), rank, np.int64)


@_compiled()
def _attend_part(frame: Any) -> None:
    """Arguments: query, keys, values, used, the part's first head of all rows' heads."""
    arguments = carray(_pointer(frame[9]), 5, np.intp)
    answers = carray(_pointer(frame[14]), 1, np.intp)
    rows, heads, columns, width = _dimensions(arguments[1], 4)
    query = carray(_pointer(_data(arguments[0])), (rows, heads, width), np.float32)
    keys = carray(_pointer(_data(arguments[1])), (rows, heads, columns, width), np.uint16)
    values = carray(_pointer(_data(arguments[2])), (rows, heads, columns, width), np.uint16)
    used = carray(_pointer(_data(arguments[3])), (rows,), np.int32)
    first = carray(_pointer(_data(arguments[4])), (1,), np.int32)[0]
    part = _dimensions(answers[0], 2)[0]
    answer = carray(_pointer(_data(answers[0])), (part, width), np.float32)
    if width == _USUAL_WIDTH:
        _attend(query, keys, values, used, answer, first, _USUAL_WIDTH)
    else:
        _attend(query, keys, values, used, answer, first, width)


@_compiled()
def _write_columns(frame: Any) -> None:
    """Arguments: keys, values (which are the answers too), new keys, new values, positions."""
    arguments = carray(_pointer(frame[9]), 5, np.intp)
    answers = carray(_pointer(frame[14]), 2, np.intp)
    rows, heads, columns, width = _dimensions(arguments[0], 4)
    positions = carray(_pointer(_data(arguments[4])), (rows,), np.int32)
    for which in range(2):
        kept = carray(_pointer(_data(answers[which])), (rows, heads, columns, width), np.uint16)
        new = carray(_pointer(_data(arguments[2 + which])), (rows, heads, width), np.uint16)
        for row in range(rows):
            column = positions[row]
            if 0 <= column < columns:
                for head in range(heads):
                    for k in range(width):
                        kept[row, head, column, k] = new[row, head, k]


@_compiled()
def _answers_version(frame: Any) -> bool:
    """Whether XLA only asked for which version of its interface this is built, which is told."""
    if frame[1] == 0:
        return False
    extension = carray(_pointer(frame[1]), 4, np.intp)
    if extension[1] & 0xFFFFFFFF != _METADATA_EXTENSION:
        return False
    metadata = carray(_pointer(extension[3]), 5, np.intp)
    metadata[3] = np.intp(_API_MINOR) << np.intp(32)  # major 0
    metadata[4] = 0
    return True


def _attend_call(call_frame: Any) -> int:
    frame = carray(call_frame, 20)
    if not _answers_version(frame):
        _attend_part(frame)
    return 0  # no error


def _write_call(call_frame: Any) -> int:
    frame = carray(call_frame, 20)
    if not _answers_version(frame):
        _write_columns(frame)
    return 0  # no error


def _compile_handler(function: Any) -> Any:
    """Keeps the machine code beside this file or in the user's cache, if either can be written."""
    function = inspect.unwrap(function)
    signature = types.intp(types.CPointer(types.intp))
    try:
        return numba.cfunc(signature, cache=True)(function)
    except RuntimeError:  # numba found no folder to write to: it compiles at every start
        return numba.cfunc(signature)(function)


attend_handler = _compile_handler(_attend_call)
write_handler = _compile_handler(_write_call)
"""Their ``address`` is what XLA is given."""
