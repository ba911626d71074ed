"""`mt3 transcribe`: transcribe recordings, on this machine or on a server."""

import argparse
import contextlib
from typing import TYPE_CHECKING

from mt3_model.audio.recording import TimeRange
from mt3_model.errors import OptionError
from service.commands.batch import Batch
from service.commands.recording_search import FoundRecordings
from service.commands.result_plan import Task, choose_formats, plan_tasks
from service.commands.server_address import VARIABLE, find_server
from service.commands.standard_input import find_inputs
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain

if TYPE_CHECKING:
    from service.commands.transcribe_local import LoadTranscriber


def transcribe(parsed: argparse.Namespace, load: "LoadTranscriber | None" = None) -> int:
    """Transcribe files, folders, globs and standard input.

    Args:
        parsed: the command line.
        load: loads the local model; by default onto this machine's device.

    Returns:
        The exit code: 1 if some inputs failed.

    Raises:
        OptionError: the options contradict each other or have invalid values.
    """
    server = find_server(parsed)
    _refuse_misplaced_options(parsed, server)
    TimeRange(start=parsed.start, end=parsed.end)  # raises for an invalid range
    with contextlib.ExitStack() as stack:
        found = find_inputs(parsed.inputs, stack)
        forms = choose_formats(parsed.format, parsed.output, found)
        plan = plan_tasks(found, parsed.output, forms, overwrite=parsed.overwrite)
        for line in found.describe_skipped(plan.result_paths):
            complain(line)
        code = _report_unreadable(found)
        with Batch(plan) as batch:
            tasks = batch.begin()
            if tasks:
                code = max(code, _transcribe_all(parsed, server, batch, tasks, load))
    return max(code, EXIT_FAILED if batch.has_failed else EXIT_DONE)


def _report_unreadable(found: FoundRecordings) -> int:
    """Write which folders could not be searched; return the exit code."""
    for folder, error in found.unreadable:
        complain(f"{folder}: cannot be searched: {error.strerror}")
    return EXIT_FAILED if found.unreadable else EXIT_DONE


def _transcribe_all(
    parsed: argparse.Namespace,
    server: str | None,
    batch: Batch,
    tasks: tuple[Task, ...],
    load: "LoadTranscriber | None",
) -> int:
    # Imported here, because transcribing on a server needs neither the model nor its libraries.
    if server is not None:
        from service.commands.transcribe_remote import transcribe_remotely  # noqa: PLC0415

        return transcribe_remotely(parsed, server, batch, tasks)
    try:
        from service.commands.transcribe_local import transcribe_locally  # noqa: PLC0415
    except ModuleNotFoundError as error:
        complain(
            f"{error.name} is not installed: only the client is; name a --server, or"
            " install mt3-service[server]"
        )
        return EXIT_FAILED
    transcribe_locally(parsed, batch, tasks, load)
    return EXIT_DONE


def _refuse_misplaced_options(parsed: argparse.Namespace, server: str | None) -> None:
    if server is not None and parsed.checkpoint is not None:
        named = "--server" if parsed.server else f"{VARIABLE} ({server})"
        raise OptionError(
            "checkpoint",
            f"--checkpoint is for this machine, but {named} names a server, which has its own"
            " checkpoint; leave one out, or add --local",
        )
    if server is None:
        for name in ("jobs", "api_key_file"):
            if getattr(parsed, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise OptionError(name, f"{option} needs --server")
