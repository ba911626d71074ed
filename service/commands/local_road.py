"""`mt3 transcribe` on this machine's device: the model is loaded, the recordings one by one."""

import argparse
import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.errors import MT3Error, OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.commands.planning import Task, write_whole
from service.commands.reading_settings import read_settings
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain, download_bar

if TYPE_CHECKING:
    from service.settings import Settings


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


def transcribe_here(
    parsed: argparse.Namespace,
    tasks: Sequence[Task],
    form_name: str,
    load: LoadTranscriber | None = None,
) -> int:
    """Transcribes recordings.

    Args:
        parsed: The command line.
        tasks: The recordings, and where their results go.
        form_name: Of the results.
        load: Loads the model; absent: on this machine's device.

    Returns:
        The exit code: 1 where some inputs failed.
    """
    settings = read_settings(parsed, "model", "checkpoint", "precision")
    form = ExportFormat(form_name)
    options = TranscriptionOptions(
        model=settings.model, decoding=parsed.decoding, start=parsed.start, end=parsed.end
    )
    asked = TimeRange(start=parsed.start, end=parsed.end)
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    transcriber = (load or load_local_transcriber)(settings)
    failed = 0
    for number, task in enumerate(tasks, 1):
        try:
            name = f"[{number}/{len(tasks)}] {task.source.name}"
            with _progress_bar(name, asked) as progress:
                transcription = transcriber.transcribe(
                    task.source, options, limits=limits, progress=progress
                )
            write_whole(_written(transcription, form), task.target)
        except OptionError:
            raise
        except (MT3Error, OSError) as error:
            failed += 1
            complain(f"{task.source}: {error}")
            continue
        for warning in transcription.warnings:
            complain(f"{task.source}: warning: {warning.message}")
    return EXIT_FAILED if failed else EXIT_DONE


def load_local_transcriber(settings: "Settings") -> RecordingTranscriber:
    """Loads the model on this machine's device, with a bar for its download."""
    from service.loading import load_local  # noqa: PLC0415

    with download_bar(settings.model) as show:
        return load_local(settings, show)


def _written(transcription: Transcription, form: ExportFormat) -> bytes:
    return export(
        transcription, form, transcription_id=f"tr_{uuid.uuid4().hex}", created=int(time.time())
    )


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
