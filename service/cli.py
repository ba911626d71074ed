"""`mt3`: the command line. It parses arguments and runs a command.

Each command is a module of `service/commands`, imported when it runs, so `mt3 --help` and usage
errors are fast and commands that use a server do not import JAX. Options that are not given take
the values of the settings (`MT3_CHECKPOINT`, `MT3_OFFLINE`...), as in the server.

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
from service.commands.shared_options import (
    add_instruments_option,
    add_postprocess_option,
    add_quality_option,
    add_quantize_option,
    add_range_options,
    add_rhythm_options,
    add_server_option,
    whole_number,
)
from service.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, complain
from service.errors import ServiceError

if TYPE_CHECKING:
    # For the type checker; at run time the commands import it.
    from service.commands.transcribe_local import LoadTranscriber

FORMAT_NAMES = tuple(FORMAT_SUFFIXES)
SCOPE_NAMES = ("transcribe", "jobs", "metrics")
"""`Scope`'s values, repeated here to avoid a heavy import; a test compares them."""
_OBJECTS_UNTIL_COLLECTION = 50_000
Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None, *, load: "LoadTranscriber | None" = None) -> int:
    """Run one command.

    Args:
        arguments: the arguments without the program's name; by default `sys.argv[1:]`.
        load: loads the model for `mt3 transcribe`; tests pass a fake.

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
    except BrokenPipeError:  # `program` ends quietly
        raise
    except OSError as error:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        complain(f"{name}{error.strerror or error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def program() -> NoReturn:
    """Run the program `mt3` and exit."""
    # Imported modules and traced functions are not garbage; collecting after every 700 new objects,
    # as is the default, takes a twentieth of the start.
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION, 10, 10)
    # Set before NumPy is imported. Its products here are small: more threads only wait for each
    # other, which triples the processor time of the clean-up. The model has its own threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = main()
    except BrokenPipeError:  # the reader of standard output has exited, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    if sys.argv[1:2] in (["serve"], ["worker"]):
        # Everything is closed. Without finalization, because threads of native libraries (object
        # storage, a compiler that hangs) may abort it or block it.
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
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="mt3", description="Multi-instrument music transcription: recordings in, notes out."
    )
    parser.add_argument(
        "--version", action=VersionAction, nargs=0, help="print the version and exit"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_transcribe_command(commands.add_parser("transcribe", help="transcribe files and folders"))
    _add_serve_command(commands.add_parser("serve", help="serve the HTTP API"))
    _add_worker_command(commands.add_parser("worker", help="run the jobs that servers accept"))
    add_jobs_options(
        commands.add_parser(
            "jobs", help="submit recordings to a server and fetch the results later"
        )
    )

    _add_keys_command(commands.add_parser("keys", help="create, list and revoke API keys"))

    _add_bulk_command(commands.add_parser("bulk", help="transcribe millions of objects, on Ray"))

    add = commands.add_parser("download", help="download a published model into the user's cache")
    add.set_defaults(run="checkpoints:download")
    add.add_argument("model", nargs="?", help="a name listed by `mt3 models` (default: mt3)")

    add = commands.add_parser("convert", help="write a checkpoint as one file that loads faster")
    add.set_defaults(run="checkpoints:convert")
    add.add_argument("output", type=Path, metavar="FILE", help="for example mt3.safetensors")
    _add_model_options(add)

    add = commands.add_parser(
        "models", help="list the published models and which are on this machine"
    )
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
        help="the result: a file; a folder for several results, or if it ends with /;"
        " - is standard output",
    )  # fmt: skip
    add.add_argument(
        "--format", type=parse_formats, action="extend", metavar="FORMAT[,FORMAT]",
        help=f"result format: {', '.join(FORMAT_NAMES)} (default: by OUT's suffix, or midi)",
    )  # fmt: skip
    add.add_argument(
        "--overwrite", action="store_true", help="also transcribe recordings whose results exist"
    )
    add.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    _add_precision_option(add)
    add_postprocess_option(add)
    add_instruments_option(add)
    add_quality_option(add)
    add_rhythm_options(add)
    add_range_options(add, default_start=0.0)
    _add_model_options(add)
    add_server_option(add, "transcribe on this server, not on this machine (default: MT3_SERVER)")
    add.add_argument(
        "--local", action="store_true", help="transcribe on this machine, even if MT3_SERVER is set"
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
        help="listen on a public address without API keys: anyone may use the server",
    )  # fmt: skip
    _add_precision_option(parser)
    _add_model_options(parser)
    _add_job_options(parser)
    parser.add_argument(
        "--no-worker", dest="worker", action="store_false", default=None,
        help="load no model: mt3 worker processes run the jobs",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="print the settings and test port, keys, folders, jobs and checkpoint",
    )  # fmt: skip


def _add_worker_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run="worker:work")
    parser.add_argument(
        "--host", help="address for /health, /ready and /metrics (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=whole_number, help="TCP port for these (default: 8001)")
    parser.add_argument(
        "--allow-anonymous", action="store_true", default=None,
        help="listen on a public address without API keys: anyone may read the metrics",
    )  # fmt: skip
    _add_precision_option(parser)
    _add_model_options(parser)
    _add_job_options(parser)


def _add_keys_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run="keys:keys")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="create a key, print it once, store its hash in the file")
    new.add_argument(
        "--name", required=True, help="the caller; the same name again adds a second key"
    )
    new.add_argument(
        "--scope", action="append", choices=SCOPE_NAMES, help="what the key allows (repeatable)"
    )
    new.add_argument(
        "--expires",
        metavar="DAY",
        help="last day (UTC) on which the key is valid, like 2030-12-31",
    )
    listing = actions.add_parser(
        "list", help="list callers, first digits of hashes, scopes and limits"
    )
    revoke = actions.add_parser("revoke", help="remove a caller, or one key by its hash")
    revoke.add_argument("--name", help="the caller")
    revoke.add_argument("--hash", metavar="DIGITS", help="first 8 or more digits of its hash")
    for action in (new, listing, revoke):
        action.add_argument("--file", type=Path, help="the key file (default: MT3_API_KEYS_FILE)")


def _add_bulk_command(add: argparse.ArgumentParser) -> None:
    add.set_defaults(run="bulk:bulk")
    add.add_argument("input", metavar="IN", help="folder, s3://, gs:// or az:// prefix")
    add.add_argument("output", metavar="OUT", help="the same; results are named after their inputs")
    add.add_argument(
        "--pattern",
        action="append",
        help="glob for keys below IN, such as '*.flac' (default: audio suffixes)",
    )
    add.add_argument(
        "--format",
        type=parse_formats,
        action="extend",
        metavar="FORMAT[,FORMAT]",
        help=f"format of the results: {', '.join(FORMAT_NAMES)} (default: midi)",
    )
    add.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    add_postprocess_option(add)
    add_instruments_option(add)
    add_quality_option(add)
    add_quantize_option(add)
    add.add_argument(
        "--limit", type=whole_number, metavar="N", help="only the first N recordings listed"
    )
    add.add_argument(
        "--retry-failed", action="store_true", help="also transcribe inputs with error records"
    )
    add.add_argument("--status", action="store_true", help="only report how much of OUT is done")
    add.add_argument("--json", type=Path, metavar="FILE", help="also write the counts as JSON")
    add.add_argument(
        "--actors",
        type=whole_number,
        metavar="N",
        help="number of actors (default: one for each device)",
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
    add.add_argument(
        "--address", help="address of a Ray cluster (default: RAY_ADDRESS, or start one)"
    )
    add.add_argument(
        "--object-store-bytes",
        type=option_bytes,
        metavar="N",
        help="object store size of a Ray cluster started here (default: Ray's)",
    )
    _add_precision_option(add)
    _add_model_options(add)


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", type=Path, metavar="FOLDER",
        help="folder for jobs and their results (default: the user's data folder)",
    )  # fmt: skip
    parser.add_argument(
        "--database", dest="database_url", metavar="URL",
        help="database of the jobs: sqlite:///file or postgresql://...",
    )  # fmt: skip
    parser.add_argument(
        "--storage", dest="storage_url", metavar="URL",
        help="storage of recordings and results: file://, s3://, gs:// or az://",
    )  # fmt: skip


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=get_args(PrecisionChoice),
        help="precision of the network's matrix products (default: auto, which is bfloat16 if the"
        " hardware supports it)",
    )  # fmt: skip


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a name listed by `mt3 models` (default: mt3)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="T5X folder or converted file"
    )


if __name__ == "__main__":
    program()
