"""`mt3 transcribe`: which recordings are read, where each result goes, and how far it is."""

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
from typing import TYPE_CHECKING, Protocol

from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.errors import MT3Error, OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.commands.reading_settings import read_settings
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain, download_bar

if TYPE_CHECKING:
    from service.settings import Settings

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


def transcribe(parsed: argparse.Namespace, load: LoadTranscriber | None = None) -> int:
    """Transcribes files, folders and globs.

    Args:
        parsed: The command line.
        load: Loads the model; absent: on this machine's device.

    Returns:
        The exit code: 1 where some inputs failed.
    """
    settings = read_settings(parsed, "model", "checkpoint", "precision")
    form = ExportFormat(parsed.format) if parsed.format else _format_of(parsed.output)
    options = TranscriptionOptions(
        model=settings.model, decoding=parsed.decoding, start=parsed.start, end=parsed.end
    )
    asked = TimeRange(start=parsed.start, end=parsed.end)
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    tasks = plan_tasks(expand_globs(parsed.inputs), parsed.output, form.suffix)
    transcriber = (load or load_local_transcriber)(settings)
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
            complain(f"{task.source}: {error}")
            continue
        for warning in transcription.warnings:
            complain(f"{task.source}: warning: {warning.message}")
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


def _format_of(output: Path) -> ExportFormat:
    """The form that a file's suffix names; MIDI where it names none."""
    longest_first = sorted(ExportFormat, key=lambda form: -len(form.suffix))
    matching = [form for form in longest_first if output.name.lower().endswith(form.suffix)]
    return matching[0] if matching else ExportFormat.MIDI


def load_local_transcriber(settings: "Settings") -> RecordingTranscriber:
    """Loads the model on this machine's device, with a bar for its download."""
    from service.assembly import load_local  # noqa: PLC0415

    with download_bar(settings.model) as show:
        return load_local(settings, show)


def _write(transcription: Transcription, form: ExportFormat, target: Path) -> None:
    """Writes the result beside its name and renames it: a file under that name is whole."""
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
