"""Tests wait for events, leave private attributes alone, and import what is there.

A sleep that supposes that something has happened by then fails on a slow machine, and so does a
bound on a duration. An attribute that a test sets from outside is an argument that is missing.
"""

import ast
import functools
from collections.abc import Iterator

from tests.repository.tracked_files import read_text, tracked_files

_PYTHON = [path for path in tracked_files() if path.endswith(".py")]
_TESTS = [path for path in _PYTHON if path.startswith("tests/")]
_OURS = ("mt3_model", "service", "tests")
_CLOCKS = frozenset({"time.monotonic", "time.perf_counter", "time.time"})
_SLEEPS = frozenset({"asyncio.sleep", "time.sleep"})


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(read_text(path) or "")


def test_tests_wait_for_events_and_set_nothing_private():
    assert not [f"{path}:{line}: {what}" for path in _TESTS for line, what in _faults(path)]


def _faults(path: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_tree(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test_"):
                yield from ((sleep, "a sleep, not a poll") for sleep in _sleeps(node))
            case ast.Assert(test=test) if _is_bounded_above(test):
                yield node.lineno, "bounds a duration"
            case ast.Assign():
                yield from _private(node.targets)
            case ast.AugAssign() | ast.AnnAssign():
                yield from _private([node.target])
            case ast.Call(func=ast.Attribute(attr="setattr" | "patch")):
                yield from _private(node.args[:1])
                if any(_is_private(name) for name in _named(node.args[:2])):
                    yield node.lineno, "patches a private attribute"
            case _:
                pass


def _sleeps(parent: ast.AST) -> Iterator[int]:
    """Yield the lines of sleeps outside of polling loops; a fake's own work may take time."""
    for node in ast.iter_child_nodes(parent):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.While():
                continue
            case ast.Call(args=[ast.Constant(value=0)]):
                pass  # lets other tasks run
            case ast.Call() if ast.unparse(node.func) in _SLEEPS:
                yield node.lineno
            case _:
                pass
        yield from _sleeps(node)


def _is_bounded_above(test: ast.expr) -> bool:
    """Whether a time since some moment is to be less than something."""
    match test:
        case ast.Compare(left=left, ops=ops, comparators=right):
            sides = [left, *right]
            return any(
                isinstance(operation, ast.Lt | ast.LtE) and _is_duration(side)
                for side, operation in zip(sides, ops, strict=False)
            )
        case _:
            return False


def _is_duration(side: ast.expr) -> bool:
    match side:
        case ast.BinOp(left=ast.Call(func=clock), op=ast.Sub()):
            return ast.unparse(clock) in _CLOCKS
        case _:
            return False


def _private(targets: list[ast.expr]) -> Iterator[tuple[int, str]]:
    """Yield the targets that go through a private attribute of another object."""
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _private(target.elts)
            continue
        owner, names = target, list[str]()
        while isinstance(owner, ast.Attribute):
            names.append(owner.attr)
            owner = owner.value
        is_own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
        if not is_own and any(map(_is_private, names)):
            yield target.lineno, f"sets {ast.unparse(target)}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _named(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        match argument:
            case ast.Constant(value=str(text)):
                yield from text.split(".")
            case _:
                pass


def test_imports_find_what_they_name():
    """Also in tests that are not collected here."""
    assert not [
        f"{path}:{line}: {module}.{name}"
        for path in _PYTHON
        for line, module, name in _imports(path)
        if module.split(".")[0] in _OURS and not _is_there(module, name)
    ]


def test_test_modules_are_imported_by_no_other():
    shared = [
        f"{path}:{line}: {module}"
        for path in _TESTS
        for line, module, _ in _imports(path)
        if module.startswith("tests.") and module.rpartition(".")[2].startswith("test_")
    ]
    assert not shared, "what two test modules use belongs in a module of its own"


def _imports(path: str) -> Iterator[tuple[int, str, str | None]]:
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name, None) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield from ((node.lineno, module, alias.name) for alias in node.names)
            case _:
                pass


def _is_there(module: str, name: str | None) -> bool:
    folder = module.replace(".", "/")
    if name is not None and {f"{folder}/{name}.py", f"{folder}/{name}/__init__.py"} & _paths():
        return True
    files = {f"{folder}.py", f"{folder}/__init__.py"} & _paths()
    return bool(files) and (name is None or name in _defined(min(files)))


@functools.cache
def _paths() -> frozenset[str]:
    return frozenset(_PYTHON)


@functools.cache
def _defined(path: str) -> frozenset[str]:
    """The names that a module defines or imports, at any place of its top level."""
    names = set[str]()
    for node in ast.walk(_tree(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.alias():
                names.add((node.asname or node.name).split(".")[0])
            case _:
                pass
    return frozenset(names)
