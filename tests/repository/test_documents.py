"""Rules for all documents; those of the service are in `unit/service/test_readme.py`."""

import argparse
import re
from pathlib import PurePosixPath

from service import cli
from tests.repository.tracked_files import ROOT, read_text, tracked_files


def read(path: str) -> str:
    """A document's text."""
    text = (ROOT / path).read_text()
    assert text.strip(), f"{path} is empty"
    return text


def command_names() -> list[str]:
    (commands,) = (
        action
        for action in cli.build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return list(commands.choices)


def test_the_readme_names_every_command():
    text = read("README.md")
    assert not [name for name in command_names() if f"mt3 {name}" not in text]


def test_every_folder_with_a_chapter_is_reached_from_the_readme():
    text = read("README.md")
    chapters = [
        path.relative_to(ROOT).as_posix()
        for folder in ("checkpoints", "deploy", "service", "mt3_model", "tests")
        for path in (ROOT / folder).glob("README.md")
    ]
    assert not [chapter for chapter in chapters if chapter not in text]


def test_every_decision_is_numbered_in_sequence():
    numbers = sorted(path.name[:4] for path in (ROOT / "deploy" / "decisions").glob("*.md"))
    assert numbers == [f"{i:04d}" for i in range(1, len(numbers) + 1)]


def test_documents_name_tests_that_exist():
    files = {path for path in tracked_files() if path.startswith("tests/") and path.endswith(".py")}
    names = {PurePosixPath(path).stem for path in files}
    for path in files:
        names.update(re.findall(r"\bdef (test_\w+)\(", read_text(path) or ""))
    stale = []
    for path in tracked_files():
        if path.endswith(".md"):
            text = read_text(path) or ""
            stale += [f"{path}: {name}" for name in re.findall(r"\btests/[\w/]+\.py\b", text)
                      if name not in files]  # fmt: skip
            stale += [f"{path}: {name}" for name in re.findall(r"\btest_\w+\b", text)
                      if name not in names]  # fmt: skip
    assert not stale
