"""Docstrings and names are in plain English, as far as a machine can check it."""

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from tests.repository.tracked_files import read_text, tracked_files

FIRST_WORDS = frozenset(
    {"Of", "Whose", "As", "Told", "Gives", "What", "How", "Where", "Who", "Which", "Whatever"}
)
"""A docstring that begins with one of these lacks its subject ("Of the server.") or is a riddle
("What is left to do.") where a noun would name the thing."""
_ARGUMENT_FRAGMENT = re.compile(
    r"^\s+\*{0,2}\w+: (?:Of|Whose|Told|As|What|How|Where|Who) ", re.MULTILINE
)
_BRITISH = re.compile(r"(?<![.\w])cancelled(?!\(|Error)", re.IGNORECASE)
"""``cancelled``, but not asyncio's ``task.cancelled()`` and ``CancelledError``."""
_QUOTES_BRITISH = frozenset({"tests/repository/test_language.py", "service/jobs/dbos_tasks.py"})
"""Files with the word in another project's messages and states (DBOS)."""
_PARALLEL = frozenset(
    {
        # The same stage in two packages, or a command named after what it runs.
        "client.py", "errors.py", "jobs.py", "streams.py", "transcribe.py", "transport.py",
        # One network, computed by Flax and by the CPU's own programs.
        "attention.py", "decoder.py", "encoder.py",
        # Our vocabulary, and the same as SeqIO's.
        "vocabulary.py",
    }
)  # fmt: skip
"""Names that several modules share on purpose."""

_PYTHON = [path for path in tracked_files() if path.endswith(".py")]


def _docstrings(path: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring of a module, class, function or attribute."""
    for node in ast.walk(ast.parse(read_text(path) or "")):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))) if text.strip():
                    yield statement.lineno, text.strip()
                case _:
                    pass


@pytest.mark.parametrize("path", _PYTHON)
def test_docstrings_and_arguments_have_a_subject(path):
    assert not [
        f"{path}:{line}: {text.splitlines()[0]}"
        for line, text in _docstrings(path)
        if text.split(maxsplit=1)[0] in FIRST_WORDS or _ARGUMENT_FRAGMENT.search(text)
    ]


def test_one_spelling_of_canceled():
    british = [
        f"{path}:{number}"
        for path in tracked_files()
        if path.endswith((".py", ".md", ".json", ".yaml", ".yml")) and path not in _QUOTES_BRITISH
        for number, line in enumerate((read_text(path) or "").splitlines(), start=1)
        if _BRITISH.search(line)
    ]
    assert not british


def test_no_two_modules_share_a_name():
    named = collections.defaultdict(list)
    for path in _PYTHON:
        if path.startswith(("mt3_model/", "service/")):
            named[PurePosixPath(path).name].append(path)
    shared = {name: paths for name, paths in named.items() if len(paths) > 1}
    del shared["__init__.py"]
    assert shared.keys() == _PARALLEL, shared
