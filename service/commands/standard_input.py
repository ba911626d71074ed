"""Find the recordings of a command line whose inputs may include `-`, standard input."""

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
"""Its name in messages."""
_NAME = "stdin"
"""Its file name, after which results are named."""


def find_inputs(inputs: Sequence[str], stack: contextlib.ExitStack) -> FoundRecordings:
    """Find the recordings among the inputs; copy standard input to a temporary file.

    Args:
        inputs: files, folders, patterns and ``-``.
        stack: removes the temporary file when it is closed.

    Raises:
        OptionError: a pattern matches nothing, or a folder has no recording.
        OSError: standard input cannot be read.
    """
    if STANDARD_STREAM not in inputs:
        return find_recordings(expand_globs(inputs))
    # A file, because reading a recording seeks and a pipe cannot.
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
