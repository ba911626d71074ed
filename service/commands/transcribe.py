"""`mt3 transcribe`: recordings in, results out, by this machine's model or by a server's."""

import argparse
from typing import TYPE_CHECKING

from mt3_model.errors import OptionError
from service.commands.planning import FORMAT_SUFFIXES, expand_globs, format_of, plan_tasks
from service.commands.terminal import EXIT_FAILED, complain

if TYPE_CHECKING:
    from service.commands.local_road import LoadTranscriber


def transcribe(parsed: argparse.Namespace, load: "LoadTranscriber | None" = None) -> int:
    """Transcribes files, folders and globs.

    Args:
        parsed: The command line.
        load: Loads the model, where no server is named; absent: on this machine's device.

    Returns:
        The exit code: 1 where some inputs failed.

    Raises:
        OptionError: The command line cannot be meant so.
    """
    _refuse_options_of_the_other_road(parsed)
    form = parsed.format or format_of(parsed.output)
    tasks = plan_tasks(expand_globs(parsed.inputs), parsed.output, FORMAT_SUFFIXES[form])
    # Imported when it is known which: the road to a server needs no model, nor its libraries.
    if parsed.server is None:
        try:
            from service.commands.local_road import transcribe_here  # noqa: PLC0415
        except ModuleNotFoundError as error:
            complain(
                f"{error.name} is not installed: this is the client alone; name a --server, or"
                " install mt3-service[server]"
            )
            return EXIT_FAILED
        return transcribe_here(parsed, tasks, form, load)
    from service.commands.remote_road import transcribe_there  # noqa: PLC0415

    return transcribe_there(parsed, tasks, form)


def _refuse_options_of_the_other_road(parsed: argparse.Namespace) -> None:
    if parsed.server is not None and parsed.checkpoint is not None:
        raise OptionError("checkpoint", "--checkpoint is for this machine; a server has its own")
    if parsed.server is None:
        for name in ("jobs", "api_key_file"):
            if getattr(parsed, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise OptionError(name, f"{option} goes with --server")
