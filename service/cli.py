"""`mt3`: the command line, a thin reader of arguments.

Everything heavy (JAX, the server, matplotlib) is imported by the subcommand that needs it, so that
`mt3 --help` and a mistyped option are answered at once. What the options leave open is read from
the settings (`MT3_CHECKPOINT`, `MT3_OFFLINE`...), as the server reads it.

Exit codes: 0 all done, 1 some inputs failed (each named on standard error), 2 wrong usage.
"""

import argparse
import contextlib
import dataclasses
import glob
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.errors import CheckpointNotFoundError, MT3Error, OptionError
from mt3_model.notes.transcription import (
    Decoding,
    PrecisionChoice,
    Transcription,
    TranscriptionOptions,
)
from service.benchmark.plan import add_benchmark_options, make_plan

if TYPE_CHECKING:
    # For the type checker; at run time the subcommands import them.
    from mt3_model.export.formats import ExportFormat
    from service.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
"""The last is the shells' 128 + SIGINT."""
FORMAT_NAMES = ("midi", "json", "jsonl", "notesequence", "notesequence_json", "piano_roll")
"""`ExportFormat`'s values, spelled out so that help needs no import; a test compares them."""
AUDIO_SUFFIXES = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
        ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg",
        ".oga", ".ogg", ".opus", ".ts", ".tta", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma",
        ".wv",
    }
)  # fmt: skip
"""What a folder is searched for; a file named on its own may be called anything."""


class RecordingTranscriber(Protocol):
    """What `mt3 transcribe` needs of a loaded model; `mt3_model.transcribe.LocalTranscriber`."""

    def transcribe(
        self,
        recording: Path,
        options: TranscriptionOptions | None = None,
        *,
        limits: ReadingLimits | None = None,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Transcription:
        """Transcribes one file, telling seconds done and, if known, in all."""
        ...


LoadTranscriber = Callable[["Settings"], RecordingTranscriber]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One recording to transcribe, and where the result goes."""

    source: Path
    target: Path


def main(arguments: Sequence[str] | None = None, *, load: LoadTranscriber | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name; absent: those of the process.
        load: Loads the model for `mt3 transcribe`; tests hand in their own.

    Returns:
        The exit code.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        return _run(parsed, load or _load_local)
    except OptionError as error:
        _complain(str(error))
        return EXIT_USAGE
    except MT3Error as error:
        _complain(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _run(parsed: argparse.Namespace, load: LoadTranscriber) -> int:  # noqa: PLR0911 (one each)
    match parsed.command:
        case "transcribe":
            return _transcribe(parsed, load)
        case "serve":
            return _serve(parsed)
        case "download":
            return _download(parsed)
        case "convert":
            return _convert(parsed)
        case "models":
            return _list_models()
        case "benchmark":
            return _benchmark(parsed)
        case command:
            assert command == "evaluate"
            return _evaluate(parsed)


def build_parser() -> argparse.ArgumentParser:
    """Describes the commands."""
    parser = argparse.ArgumentParser(
        prog="mt3", description="Multi-instrument music transcription: recordings in, notes out."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("transcribe", help="transcribe files and folders on this machine")
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
    add.add_argument("--host", help="address to listen on (default: only this machine)")
    add.add_argument("--port", type=int, help="TCP port (default: 8000)")
    _add_precision_option(add)
    _add_model_options(add)

    add = commands.add_parser("download", help="fetch a published model into the user's cache")
    add.add_argument("model", nargs="?", help="a name of `mt3 models` (default: mt3)")

    add = commands.add_parser("convert", help="write a checkpoint as one file that loads faster")
    add.add_argument("output", type=Path, metavar="FILE", help="for example mt3.safetensors")
    _add_model_options(add)

    commands.add_parser("models", help="list the published models, and which are here")

    add = commands.add_parser("evaluate", help="score MIDI files against references")
    add.add_argument("reference", type=Path, metavar="REF_DIR")
    add.add_argument("estimate", type=Path, metavar="EST_DIR")
    add.add_argument("--json", type=Path, metavar="OUT", help="also write all scores as JSON")

    add = commands.add_parser("benchmark", help="measure speed and memory on this machine")
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


def _read_settings(parsed: argparse.Namespace, *names: str) -> "Settings":
    """The environment's settings, with what the command line says in their place."""
    from pydantic import ValidationError  # noqa: PLC0415

    from service.settings import Settings  # noqa: PLC0415

    given = {name: getattr(parsed, name) for name in names}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise OptionError(
            name, f"{name} (or MT3_{name.upper()}) is {first['input']!r}: {first['msg']}"
        ) from error


# transcribe


def _transcribe(parsed: argparse.Namespace, load: LoadTranscriber) -> int:
    from mt3_model.export.formats import ExportFormat  # noqa: PLC0415

    settings = _read_settings(parsed, "model", "checkpoint", "precision")
    form = ExportFormat(parsed.format) if parsed.format else _format_of(parsed.output)
    options = TranscriptionOptions(
        model=settings.model, decoding=parsed.decoding, start=parsed.start, end=parsed.end
    )
    asked = TimeRange(start=parsed.start, end=parsed.end)
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    tasks = plan_tasks(expand_globs(parsed.inputs), parsed.output, form.suffix)
    transcriber = load(settings)
    failed = 0
    for number, task in enumerate(tasks, 1):
        try:
            name = f"[{number}/{len(tasks)}] {task.source.name}"
            with _progress_bar(name, asked) as progress:
                transcription = transcriber.transcribe(
                    task.source, options, limits=limits, progress=progress
                )
            _write(transcription, form, task.target)
        except OptionError:
            raise
        except (MT3Error, OSError) as error:
            failed += 1
            _complain(f"{task.source}: {error}")
            continue
        for warning in transcription.warnings:
            _complain(f"{task.source}: warning: {warning.message}")
    return EXIT_FAILED if failed else EXIT_DONE


def expand_globs(inputs: Sequence[Path]) -> list[Path]:
    """Replaces patterns that the shell left alone (quoted, or on Windows) by what they match.

    Raises:
        OptionError: A pattern matches nothing.
    """
    expanded: list[Path] = []
    for path in inputs:
        if path.exists() or not glob.has_magic(str(path)):
            expanded.append(path)
            continue
        # Path.glob takes relative patterns only; these may begin anywhere.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not matches:
            raise OptionError("inputs", f"nothing matches {path}")
        expanded += map(Path, matches)
    return expanded


def plan_tasks(inputs: Sequence[Path], output: Path, suffix: str) -> list[Task]:
    """Says which recordings are read and where each result goes.

    A single file's result is ``output`` itself, unless that is a folder. With a folder among the
    inputs or several of them, ``output`` is a folder: results are named after their inputs, below
    a searched folder at the same place as there. Inputs that differ only in their suffix keep it:
    ``song.wav.mid``.

    Raises:
        OptionError: ``output`` is, or by its suffix names, a file where a folder is needed, or a
            folder holds no audio.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if single and not output.is_dir() and not str(output).endswith("/"):
        return [Task(source=inputs[0], target=output)]
    if not output.is_dir() and (output.exists() or output.name.lower().endswith(suffix)):
        raise OptionError(
            "output",
            f"{output} is or names a file; expected a folder for the results of several inputs",
        )
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        recordings = sorted(
            file for file in path.rglob("*")
            if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
        )  # fmt: skip
        if not recordings:
            raise OptionError("inputs", f"there is no audio file in the folder {path}")
        found += [(file, file.relative_to(path)) for file in recordings]
    stems = Counter(place.with_suffix("") for _, place in found)
    tasks = [
        Task(
            source=source,
            target=output
            / place.with_name(
                (place.name if stems[place.with_suffix("")] > 1 else place.stem) + suffix
            ),
        )
        for source, place in found
    ]
    twice = [target for target, count in Counter(t.target for t in tasks).items() if count > 1]
    if twice:
        raise OptionError(
            "inputs", f"several inputs would be written to {twice[0]}; transcribe them apart"
        )
    return tasks


def _format_of(output: Path) -> "ExportFormat":
    """The form that a file's suffix names; MIDI where it names none."""
    from mt3_model.export.formats import ExportFormat  # noqa: PLC0415

    longest_first = sorted(ExportFormat, key=lambda form: -len(form.suffix))
    matching = [form for form in longest_first if output.name.lower().endswith(form.suffix)]
    return matching[0] if matching else ExportFormat.MIDI


def _load_local(settings: "Settings") -> RecordingTranscriber:
    from service.assembly import load_local  # noqa: PLC0415

    with _download_bar(settings.model) as show:
        return load_local(settings, show)


def _write(transcription: Transcription, form: "ExportFormat", target: Path) -> None:
    """Writes the result beside its name and renames it: a file under that name is whole."""
    from mt3_model.export.formats import export  # noqa: PLC0415

    content = export(
        transcription, form, transcription_id=f"tr_{uuid.uuid4().hex}", created=int(time.time())
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress_bar(name: str, asked: TimeRange) -> Generator[Callable[[float, float | None], None]]:
    """Seconds of sound on a terminal; nothing in a pipe."""
    from tqdm import tqdm  # noqa: PLC0415

    bar_format = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
    with tqdm(
        desc=name, disable=not sys.stderr.isatty(), bar_format=bar_format, total=1.0, leave=True
    ) as bar:

        def show(done: float, total: float | None) -> None:
            bar.total = max(asked.seconds_of(total or 0.0), done)
            bar.update(done - bar.n)

        yield show


# The other commands


def _serve(parsed: argparse.Namespace) -> int:
    from service.api.app import create_app  # noqa: PLC0415
    from service.api.server import serve  # noqa: PLC0415
    from service.observability.logging import configure_logging  # noqa: PLC0415

    settings = _read_settings(parsed, "host", "port", "model", "checkpoint", "precision")
    configure_logging(settings.log_level)

    def say_what_to_type_next() -> None:
        _print(
            "Ready. Try: curl --data-binary @song.mp3"
            f" 'http://{settings.host}:{settings.port}/v1/transcriptions?response_format=midi'"
            " -o song.mid"
        )

    return serve(
        create_app(settings, on_ready=say_what_to_type_next),
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
    )


def _download(parsed: argparse.Namespace) -> int:
    from mt3_model.checkpoint.download import download_model  # noqa: PLC0415
    from mt3_model.checkpoint.locating import default_cache_folder  # noqa: PLC0415
    from mt3_model.checkpoint.manifest import read_entry  # noqa: PLC0415

    settings = _read_settings(parsed, "model")
    if settings.offline:
        raise CheckpointNotFoundError("downloads are switched off (MT3_OFFLINE); switch them on")
    entry = read_entry(settings.model, mirror=settings.checkpoint_mirror_url)
    with _download_bar(entry.name) as show:
        folder = download_model(entry, default_cache_folder(), progress=show)
    _print(str(folder))
    return EXIT_DONE


def _convert(parsed: argparse.Namespace) -> int:
    from mt3_model.checkpoint.loading import convert_checkpoint  # noqa: PLC0415
    from mt3_model.checkpoint.locating import find_checkpoint  # noqa: PLC0415
    from service.assembly import REPOSITORY_FOLDER, find_spec  # noqa: PLC0415

    settings = _read_settings(parsed, "model", "checkpoint")
    source = find_checkpoint(
        settings.model,
        explicit=settings.checkpoint,
        repository_folder=REPOSITORY_FOLDER,
        offline=True,
    )
    converted = convert_checkpoint(source, parsed.output, find_spec(settings))
    _print(f"{parsed.output} holds the parameters of {source}, sha256 {converted.sha256}")
    return EXIT_DONE


@contextlib.contextmanager
def _download_bar(model: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar, on a terminal, that appears with the first byte."""
    from tqdm import tqdm  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        bar: tqdm[Any] | None = None

        def show(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                hidden = not sys.stderr.isatty()
                bar = tqdm(desc=model, unit="B", unit_scale=True, total=total, disable=hidden)
                stack.callback(bar.close)
            bar.update(done - bar.n)

        yield show


def _list_models() -> int:
    from mt3_model.checkpoint.locating import find_checkpoint  # noqa: PLC0415
    from mt3_model.checkpoint.manifest import read_manifest  # noqa: PLC0415
    from service.assembly import REPOSITORY_FOLDER  # noqa: PLC0415

    for entry in read_manifest().values():
        try:
            place = str(
                find_checkpoint(entry.name, repository_folder=REPOSITORY_FOLDER, offline=True)
            )
        except CheckpointNotFoundError:
            place = f"not here (mt3 download {entry.name})"
        _print(f"{entry.name:16} {entry.description}\n{'':16} {place}")
    return EXIT_DONE


def _evaluate(parsed: argparse.Namespace) -> int:
    from mt3_model.evaluation.report import evaluate_folders  # noqa: PLC0415

    report = evaluate_folders(parsed.reference, parsed.estimate)
    _print(report.to_table())
    if parsed.json is not None:
        parsed.json.write_text(report.to_json(), encoding="utf-8")
    return EXIT_FAILED if report.failed or report.missing else EXIT_DONE


def _benchmark(parsed: argparse.Namespace) -> int:
    from service.assembly import LoadedModel, load_local, load_model  # noqa: PLC0415
    from service.benchmark.command import run_command  # noqa: PLC0415
    from service.errors import ServiceError  # noqa: PLC0415

    settings = _read_settings(parsed, "model", "checkpoint", "slots", "precision")
    plan = make_plan(parsed, expand_globs(parsed.recordings))

    def load() -> LoadedModel:
        if settings.backend == "fake":
            return load_model(settings)
        with _download_bar(settings.model) as show:
            local = load_local(settings, show)
        return LoadedModel(spec=local.spec, provenance=local.model, backend=local.pool)

    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    try:
        run_command(load, plan, limits=limits, json_path=parsed.json, write=_print)
    except ServiceError as error:
        _complain(str(error))
        return EXIT_FAILED
    return EXIT_DONE


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(message: str) -> None:
    sys.stderr.write(f"mt3: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
