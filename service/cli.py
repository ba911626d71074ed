"""`mt3`: the command line, a thin reader of arguments.

Each command is a module of `service/commands`, imported when it is asked for, so that `mt3 --help`
and a mistyped option are answered at once, and the commands that talk to a server need no JAX.
What the options leave open is read from the settings (`MT3_CHECKPOINT`, `MT3_OFFLINE`...), as the
server reads it.

Exit codes: 0 all done, 1 some inputs failed (each named on standard error), 2 wrong usage.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from mt3_model.errors import MT3Error, OptionError
from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.benchmark.plan import add_benchmark_options
from service.commands.examples import VersionAction, add_examples
from service.commands.job_options import add_jobs_options
from service.commands.option_names import name_options
from service.commands.option_types import option_bytes
from service.commands.result_plan import FORMAT_SUFFIXES, parse_formats
from service.commands.shared_options import add_range_options, add_server_option, whole_number
from service.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, complain
from service.errors import ServiceError

if TYPE_CHECKING:
    # For the type checker; at run time the commands import them.
    from service.commands.transcribe_local import LoadTranscriber

FORMAT_NAMES = tuple(FORMAT_SUFFIXES)
SCOPE_NAMES = ("transcribe", "jobs", "metrics")
"""`Scope`'s values, likewise."""
_OBJECTS_UNTIL_COLLECTION = 50_000
Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None, *, load: "LoadTranscriber | None" = None) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name; absent: those of the process.
        load: Loads the model for `mt3 transcribe`; tests hand in their own.

    Returns:
        The exit code.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        return _run(parsed, load)
    except OptionError as error:
        complain(name_options(str(error)))
        return EXIT_USAGE
    except (MT3Error, ServiceError) as error:
        complain(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def program() -> NoReturn:
    """The program `mt3`: runs a command and ends the process with its exit code."""
    # What is imported and traced stays, and looking through it for garbage after every 700 new
    # objects is a twentieth of a start.
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION, 10, 10)
    try:
        code = main()
    except BrokenPipeError:  # whoever read standard output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    if sys.argv[1:2] in (["serve"], ["worker"]):
        # They have closed all they had. Threads of native libraries (object storage, a compiler
        # that hangs) may abort or hold an interpreter that goes down around them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(parsed: argparse.Namespace, load: "LoadTranscriber | None") -> int:
    if parsed.command == "transcribe" and load is not None:
        from service.commands.transcribe import transcribe  # noqa: PLC0415

        return transcribe(parsed, load)
    module, _, function = parsed.run.partition(":")
    command: Command = getattr(import_module(f"service.commands.{module}"), function)
    return command(parsed)


def build_parser() -> argparse.ArgumentParser:
    """Describes the commands."""
    parser = argparse.ArgumentParser(
        prog="mt3", description="Multi-instrument music transcription: recordings in, notes out."
    )
    parser.add_argument("--version", action=VersionAction, nargs=0, help="show it, and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_transcribe_command(commands.add_parser("transcribe", help="transcribe files and folders"))
    _add_serve_command(commands.add_parser("serve", help="serve the HTTP API"))
    _add_worker_command(commands.add_parser("worker", help="work on the jobs that servers take"))
    add_jobs_options(commands.add_parser("jobs", help="work that a server does by itself"))

    _add_keys_command(commands.add_parser("keys", help="make, list and revoke API keys"))

    _add_bulk_command(commands.add_parser("bulk", help="transcribe millions of objects, on Ray"))

    add = commands.add_parser("download", help="fetch a published model into the user's cache")
    add.set_defaults(run="checkpoints:download")
    add.add_argument("model", nargs="?", help="a name of `mt3 models` (default: mt3)")

    add = commands.add_parser("convert", help="write a checkpoint as one file that loads faster")
    add.set_defaults(run="checkpoints:convert")
    add.add_argument("output", type=Path, metavar="FILE", help="for example mt3.safetensors")
    _add_model_options(add)

    add = commands.add_parser("models", help="list the published models, and which are here")
    add.set_defaults(run="checkpoints:list_models")

    add = commands.add_parser("evaluate", help="score MIDI files against references")
    add.set_defaults(run="measurements:evaluate")
    add.add_argument("reference", type=Path, metavar="REF_DIR")
    add.add_argument("estimate", type=Path, metavar="EST_DIR")
    add.add_argument("--json", type=Path, metavar="OUT", help="also write all scores as JSON")

    add = commands.add_parser("benchmark", help="measure speed and memory on this machine")
    add.set_defaults(run="measurements:benchmark")
    add_benchmark_options(add)
    _add_precision_option(add)
    _add_model_options(add)
    add_examples(parser)
    return parser


def _add_transcribe_command(add: argparse.ArgumentParser) -> None:
    add.set_defaults(run="transcribe:transcribe")
    add.add_argument(
        "inputs", nargs="+", metavar="IN", help="audio file, folder or glob; - is standard input"
    )
    add.add_argument(
        "-o", "--output", required=True, metavar="OUT",
        help="the result: a file; a folder where there are several, or with a / at its end;"
        " - is standard output",
    )  # fmt: skip
    add.add_argument(
        "--format", type=parse_formats, action="extend", metavar="FORMAT[,FORMAT]",
        help=f"of the results: {', '.join(FORMAT_NAMES)} (default: by OUT's suffix, or midi)",
    )  # fmt: skip
    add.add_argument(
        "--overwrite", action="store_true", help="also do recordings whose results are there"
    )
    add.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    _add_precision_option(add)
    add_range_options(add, default_start=0.0)
    _add_model_options(add)
    add_server_option(add, "by this server, not on this machine (default: MT3_SERVER)")
    add.add_argument(
        "--local", action="store_true", help="on this machine, though MT3_SERVER names a server"
    )
    add.add_argument(
        "--jobs", type=whole_number, metavar="N", help="recordings in flight (default: 4)"
    )


def _add_serve_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run="serve:serve")
    parser.add_argument("--host", help="address to listen on (default: only this machine)")
    parser.add_argument("--port", type=whole_number, help="TCP port (default: 8000)")
    parser.add_argument(
        "--allow-anonymous", action="store_true", default=None,
        help="listen on a public address without API keys: everybody may use the server",
    )  # fmt: skip
    _add_precision_option(parser)
    _add_model_options(parser)
    _add_job_options(parser)
    parser.add_argument(
        "--no-worker", dest="worker", action="store_false", default=None,
        help="load no model: mt3 worker processes do the work",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="print the settings and try what a start needs: port, keys, folders, jobs, checkpoint",
    )  # fmt: skip


def _add_worker_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run="worker:work")
    parser.add_argument("--host", help="of /health, /ready and /metrics (default: 127.0.0.1)")
    parser.add_argument("--port", type=whole_number, help="their TCP port (default: 8001)")
    parser.add_argument(
        "--allow-anonymous", action="store_true", default=None,
        help="listen on a public address without API keys: everybody may read the metrics",
    )  # fmt: skip
    _add_precision_option(parser)
    _add_model_options(parser)
    _add_job_options(parser)


def _add_keys_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run="keys:keys")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key, show it once, and keep its hash in the file")
    new.add_argument("--name", required=True, help="whose it is; again for a second key")
    new.add_argument(
        "--scope", action="append", choices=SCOPE_NAMES, help="what it opens (repeatable)"
    )
    new.add_argument("--expires", metavar="DAY", help="last day it opens anything, 2027-01-31")
    listing = actions.add_parser("list", help="names, first digits of hashes, scopes and limits")
    revoke = actions.add_parser("revoke", help="take out a caller, or one key by its hash")
    revoke.add_argument("--name", help="whose")
    revoke.add_argument("--hash", metavar="DIGITS", help="first eight or more of the key's hash")
    for action in (new, listing, revoke):
        action.add_argument("--file", type=Path, help="the key file (default: MT3_API_KEYS_FILE)")


def _add_bulk_command(add: argparse.ArgumentParser) -> None:
    add.set_defaults(run="bulk:bulk")
    add.add_argument("input", metavar="IN", help="folder, s3://, gs:// or az:// prefix")
    add.add_argument("output", metavar="OUT", help="the same; results are named after inputs")
    add.add_argument(
        "--pattern", action="append", help="of keys below IN, '*.flac' (default: audio suffixes)"
    )
    add.add_argument(
        "--format", choices=FORMAT_NAMES, action="append", help="of results (default: midi)"
    )
    add.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    add.add_argument(
        "--limit", type=whole_number, metavar="N", help="the first N of the listing only"
    )
    add.add_argument("--retry-failed", action="store_true", help="also those with error records")
    add.add_argument("--status", action="store_true", help="say how far OUT is, and do nothing")
    add.add_argument("--json", type=Path, metavar="FILE", help="also write the counts")
    add.add_argument(
        "--actors", type=whole_number, metavar="N", help="(default: one for each device)"
    )
    for unit, word in (("gpus", "GPUs"), ("tpus", "TPU chips"), ("cpus", "processors")):
        add.add_argument(
            f"--{unit}-per-actor", type=float, metavar="N", help=f"{word} of each actor",
            default=1.0 if unit == "cpus" else None,
        )  # fmt: skip
    add.add_argument(
        "--in-flight", type=whole_number, metavar="N", help="recordings at once on each actor"
    )
    add.add_argument(
        "--slots", type=whole_number, metavar="N", help="segments at once on each device"
    )
    add.add_argument("--address", help="of a Ray cluster (default: RAY_ADDRESS, or one started)")
    add.add_argument(
        "--object-store-bytes",
        type=option_bytes,
        metavar="N",
        help="of a Ray started here (default: Ray's)",
    )
    _add_precision_option(add)
    _add_model_options(add)


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", type=Path, metavar="FOLDER",
        help="where jobs and their results are kept (default: the user's data folder)",
    )  # fmt: skip
    parser.add_argument(
        "--database", dest="database_url", metavar="URL",
        help="of the jobs: sqlite:///file or postgresql://...",
    )  # fmt: skip
    parser.add_argument(
        "--storage", dest="storage_url", metavar="URL",
        help="of recordings and results: file://, s3://, gs:// or az://",
    )  # fmt: skip


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=get_args(PrecisionChoice),
        help="of the network's products (default: auto, bfloat16 where the hardware has it)",
    )  # fmt: skip


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a name of `mt3 models` (default: mt3)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="a T5X folder or a converted file"
    )


if __name__ == "__main__":
    program()
