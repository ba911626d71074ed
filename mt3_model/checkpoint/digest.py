r"""Compute the sha256 digest that identifies a model's parameters, whatever file they came from.

Every transcription records the digest of the parameters that produced it. A digest of files would
differ between a T5X folder and its converted file, so this digest covers the arrays: it is the
sha256 of one line per array, sorted by path:

    <path> <dtype, little-endian> <shape, comma-separated> <sha256 of the bytes in C order>\n

The digests of the arrays are computed on several threads. See deploy/decisions/0002.
"""

import hashlib
from collections.abc import Mapping
from concurrent import futures

import numpy as np

from mt3_model.errors import CheckpointContentError

_THREADS = 4


def digest_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the digest of float32 arrays by path, in lowercase hexadecimal."""
    paths = sorted(arrays)
    with futures.ThreadPoolExecutor(_THREADS) as threads:
        digests = list(threads.map(_digest_array, [arrays[path] for path in paths]))
    total = hashlib.sha256()
    for path, digest in zip(paths, digests, strict=True):
        shape = ",".join(map(str, arrays[path].shape))
        total.update(f"{path} <f4 {shape} {digest}\n".encode())
    return total.hexdigest()


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `CheckpointContentError` if an array has a NaN or an infinity; the message names it."""
    with futures.ThreadPoolExecutor(_THREADS) as threads:
        finite = list(threads.map(_is_finite, arrays.values()))
    broken = [path for path, good in zip(arrays, finite, strict=True) if not good]
    if broken:
        more = f" and {len(broken) - 10} more" if len(broken) > 10 else ""  # noqa: PLR2004
        raise CheckpointContentError(
            f"{', '.join(broken[:10])}{more}: found NaN or infinite values; expected finite "
            "numbers. The checkpoint is damaged or its training diverged: use another"
        )


def _digest_array(array: np.ndarray) -> str:
    contiguous = np.asarray(array, dtype="<f4", order="C")
    return hashlib.sha256(contiguous.data).hexdigest()


def _is_finite(array: np.ndarray) -> bool:
    # A sum is many times faster than isfinite, and is finite only if every element is. If the sum
    # of finite elements overflows, isfinite decides.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum(dtype=np.float32)) or np.isfinite(array).all())
