"""`mt3 transcribe` on this machine's device: the model is loaded, the recordings one by one."""

import argparse
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.errors import MT3Error, OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.commands.batch import Batch, write_results
from service.commands.command_settings import read_settings
from service.commands.result_files import OutputError
from service.commands.result_plan import Task
from service.commands.terminal import download_bar

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


def transcribe_locally(
    parsed: argparse.Namespace,
    batch: Batch,
    tasks: Sequence[Task],
    load: LoadTranscriber | None = None,
) -> None:
    """Transcribes recordings.

    Args:
        parsed: The command line.
        batch: Shows and counts what becomes of them.
        tasks: The recordings, and where their results go.
        load: Loads the model; absent: on this machine's device.
    """
    settings = read_settings(parsed, "model", "checkpoint", "precision")
    options = TranscriptionOptions(
        model=settings.model,
        decoding=parsed.decoding,
        start=parsed.start,
        end=parsed.end,
        audio_track=parsed.audio_track,
    )
    asked = TimeRange(start=parsed.start, end=parsed.end)
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    batch.say(f"loading {settings.model} ...")
    transcriber = (load or load_local_transcriber)(settings)
    for task in tasks:
        batch.start(task)
        try:
            transcription = transcriber.transcribe(
                task.source, options, limits=limits, progress=_progress(batch, task, asked)
            )
            write_results(task, _contents(transcription, task))
        except OptionError:
            raise
        except OutputError as error:
            batch.fail(task, f"{error} (the result of {task.label})")
        except (MT3Error, OSError) as error:
            batch.fail(task, f"{task.label}: {error}")
        else:
            batch.count_written(task)
            for warning in transcription.warnings:
                batch.complain(f"{task.label}: warning: {warning.message}")


def _progress(batch: Batch, task: Task, asked: TimeRange) -> Callable[[float, float | None], None]:
    """Show the seconds done, counted from the range's start, as a part of the range."""

    def show(done: float, total: float | None) -> None:
        seconds = asked.seconds_of(total or 0.0)
        if seconds > 0:
            batch.advance(task, done / seconds)

    return show


def load_local_transcriber(settings: "Settings") -> RecordingTranscriber:
    """Loads the model on this machine's device, with a bar for its download."""
    from service.loading import load_local  # noqa: PLC0415

    with download_bar(settings.model) as show:
        return load_local(settings, show)


def _contents(transcription: Transcription, task: Task) -> list[bytes]:
    """A recording's results, one for each of its targets."""
    transcription_id, created = f"tr_{uuid.uuid4().hex}", int(time.time())
    return [
        export(
            transcription, ExportFormat(target.form), transcription_id=transcription_id,
            created=created,
        )
        for target in task.targets
    ]  # fmt: skip
