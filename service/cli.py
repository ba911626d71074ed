"""`mt3`: the command line, a thin reader of arguments.

Each command is a module of `service/commands`, imported when it is asked for, so that `mt3 --help`
and a mistyped option are answered at once, and the commands that talk to a server need no JAX.
What the options leave open is read from the settings (`MT3_CHECKPOINT`, `MT3_OFFLINE`...), as the
server reads it.

Exit codes: 0 all done, 1 some inputs failed (each named on standard error), 2 wrong usage.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mt3_model.errors import MT3Error, OptionError
from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.benchmark.plan import add_benchmark_options
from service.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, complain
from service.errors import ServiceError

if TYPE_CHECKING:
    # For the type checker; at run time the commands import them.
    from service.commands.transcribe import LoadTranscriber

FORMAT_NAMES = ("midi", "json", "jsonl", "notesequence", "notesequence_json", "piano_roll")
"""`ExportFormat`'s values, spelled out so that help needs no import; a test compares them."""
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
        complain(str(error))
        return EXIT_USAGE
    except (MT3Error, ServiceError) as error:
        complain(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("transcribe", help="transcribe files and folders on this machine")
    add.set_defaults(run="transcribe:transcribe")
    add.add_argument(
        "inputs", nargs="+", type=Path, metavar="IN", help="audio file, folder or glob"
    )
    add.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT",
        help="the result; a folder where there are several inputs",
    )  # fmt: skip
    add.add_argument("--format", choices=FORMAT_NAMES, help="of the result; else by OUT's suffix")
    add.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    _add_precision_option(add)
    add.add_argument("--start", type=float, default=0.0, metavar="SECONDS")
    add.add_argument("--end", type=float, metavar="SECONDS")
    _add_model_options(add)

    add = commands.add_parser("serve", help="serve the HTTP API")
    add.set_defaults(run="serve:serve")
    add.add_argument("--host", help="address to listen on (default: only this machine)")
    add.add_argument("--port", type=int, help="TCP port (default: 8000)")
    _add_precision_option(add)
    _add_model_options(add)

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
    add.set_defaults(run="measuring:evaluate")
    add.add_argument("reference", type=Path, metavar="REF_DIR")
    add.add_argument("estimate", type=Path, metavar="EST_DIR")
    add.add_argument("--json", type=Path, metavar="OUT", help="also write all scores as JSON")

    add = commands.add_parser("benchmark", help="measure speed and memory on this machine")
    add.set_defaults(run="measuring:benchmark")
    add_benchmark_options(add)
    _add_precision_option(add)
    _add_model_options(add)
    return parser


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=get_args(PrecisionChoice),
        help="of the network's products (default: auto, the faster one here)",
    )  # fmt: skip


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a name of `mt3 models` (default: mt3)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="a T5X folder or a converted file"
    )


if __name__ == "__main__":
    sys.exit(main())
