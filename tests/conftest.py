"""Fixtures for files outside the repository, and settings for all tests.

`MT3_SHARED` names the folder of the golden files and dev clips, `MT3_CHECKPOINT` the published
checkpoint. The Makefile and `.ci/run` set both if the files exist; without them, tests that need
them are skipped.
"""

import logging
import os
import pathlib
from collections.abc import Callable, Iterator

import hypothesis
import pytest

# The duration of an example depends on how busy the machine is.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "quick", hypothesis.settings.get_profile("any machine"), max_examples=20
)
hypothesis.settings.load_profile("any machine")

# Servers of tests keep no jobs, and nothing in the user's folders, unless a test sets it.
os.environ["MT3_JOBS"] = "false"
_REPORTED_LINE = "reported_line"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the fuzz tests: a test of a minute that begins last keeps one worker alone."""
    items.sort(key=lambda item: "fuzz" not in item.path.parts)


@pytest.fixture(scope="session")
def shared_folder() -> pathlib.Path:
    """The folder that holds ``golden/`` and ``eval/``."""
    return _folder("MT3_SHARED")


@pytest.fixture(scope="session")
def checkpoint_folder() -> pathlib.Path:
    """The published mt3 checkpoint, in T5X's format."""
    return _folder("MT3_CHECKPOINT")


def _folder(variable: str) -> pathlib.Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: what this test compares with is not here")
    folder = pathlib.Path(value)
    assert folder.is_dir(), f"{variable} names no folder"
    return folder


@pytest.fixture(autouse=True)
def _log_handlers_end_with_their_test() -> Iterator[None]:
    """Remove the log handlers a test added: they hold its captured stream, which is then closed."""

    def loggers() -> list[logging.Logger]:
        known = [*logging.Logger.manager.loggerDict.values()]
        return [logging.getLogger(), *(one for one in known if isinstance(one, logging.Logger))]

    before = {logger.name: tuple(logger.handlers) for logger in loggers()}
    yield
    for logger in loggers():
        for handler in set(logger.handlers) - set(before.get(logger.name, ())):
            logger.removeHandler(handler)


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that shows a line of the test, such as a count, after the run."""
    return lambda line: record_property(_REPORTED_LINE, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the lines of the tests."""
    lines = [
        (report.nodeid.rpartition("::")[2], line)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, line in report.user_properties
        if name == _REPORTED_LINE
    ]
    if lines:
        terminalreporter.section("counts")
        for test, line in lines:
            terminalreporter.line(f"{test}: {line}")
