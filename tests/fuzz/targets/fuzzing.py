"""Run a target with coverage guidance (atheris, which is libFuzzer).

A target is a module with

- `MODULES`: the modules whose branches guide the run;
- `seeds()`: the first inputs;
- `check(data)`: runs the code on the bytes and raises `Violation`, or any exception that the code
  should not have raised. Exceptions of our own error classes are valid results.

Each can run alone, with libFuzzer's options: `python -m tests.fuzz.targets.options -runs=20000`.
`smallest` minimizes an input that breaks a target; it becomes a line of
`tests/fuzz/test_targets.py`.
"""

import contextlib
import hashlib
import inspect
import pathlib
import sys
import tempfile
import types
from collections.abc import Callable, Generator, Iterable, Sequence

from mt3_model.errors import MT3Error
from service.errors import ServiceError


class Violation(AssertionError):  # noqa: N818  # not an error of the code, but of a property
    """The code returned an invalid result."""


@contextlib.contextmanager
def refusals_allowed() -> Generator[None]:
    """Suppress the errors that are valid results."""
    with contextlib.suppress(MT3Error, ServiceError):
        yield


def smallest(check: Callable[[bytes], None], data: bytes) -> bytes:
    """Minimize an input as long as it raises the same kind of exception.

    Pieces are removed, large ones first (delta debugging without its second half).
    """
    wanted = _outcome(check, data)
    assert wanted is not None, "the input breaks nothing"
    size = len(data)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if _outcome(check, shorter) is wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def fuzz(
    check: Callable[[bytes], None],
    seeds: Iterable[bytes],
    modules: Sequence[types.ModuleType],
    arguments: Sequence[str] | None = None,
) -> None:
    """Run libFuzzer in this process; does not return.

    Args:
        check: the function of the target.
        seeds: inputs added to any corpus named in the arguments.
        modules: the modules whose functions are instrumented.
        arguments: options of libFuzzer; None for those of the process.
    """
    import atheris  # noqa: PLC0415  # only on Linux, and not needed to check single inputs

    for function in _functions(modules):
        atheris.instrument_func(function)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as corpus:
        for seed in seeds:
            (pathlib.Path(corpus) / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        atheris.Setup([sys.argv[0], *arguments, corpus], check)
        atheris.Fuzz()


def _functions(modules: Sequence[types.ModuleType]) -> list[types.FunctionType]:
    """Return the functions, methods and properties that the modules define."""
    found = []
    for module in modules:
        for value in vars(module).values():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            members = vars(value).values() if inspect.isclass(value) else [value]
            for member in members:
                plain = getattr(member, "fget", None) or getattr(member, "__func__", member)
                plain = inspect.unwrap(plain) if callable(plain) else plain
                if inspect.isfunction(plain):
                    found.append(plain)
    return found


def _outcome(check: Callable[[bytes], None], data: bytes) -> type[BaseException] | None:
    try:
        check(data)
    except Exception as error:
        return type(error)
    return None
