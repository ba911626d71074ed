"""The inputs of a command line, `-` for standard input among them, as recordings on this disk."""

import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from service.commands.recording_search import FoundRecordings, expand_globs, find_recordings
from service.commands.result_plan import STANDARD_STREAM

LABEL = "standard input"
_NAME = "stdin"
"""What its recording is called, and its results are named after."""


def find_inputs(inputs: Sequence[str], stack: contextlib.ExitStack) -> FoundRecordings:
    """Finds the recordings that a command line names; standard input is read to a file.

    Args:
        inputs: Files, folders, patterns and ``-``.
        stack: Its end removes the file.

    Raises:
        OptionError: A pattern matches nothing, or a folder holds no recording.
        OSError: Standard input cannot be read.
    """
    if STANDARD_STREAM not in inputs:
        return find_recordings(expand_globs(inputs))
    # Readers look at the end of a recording before its middle, so that a pipe will not do.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mt3-")))
    copy = folder / _NAME
    with copy.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    paths: list[Path] = []
    for name in inputs:
        paths += [copy] if name == STANDARD_STREAM else expand_globs([name])
    found = find_recordings(paths)
    return dataclasses.replace(
        found,
        recordings=tuple(
            dataclasses.replace(recording, label=LABEL) if recording.path == copy else recording
            for recording in found.recordings
        ),
    )
