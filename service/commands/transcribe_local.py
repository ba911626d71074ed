"""`mt3 transcribe` on this machine: load the model, transcribe the recordings one by one."""

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
from service.commands.option_names import name_options
from service.commands.result_files import OutputError
from service.commands.result_plan import STANDARD_STREAM, Task
from service.commands.shared_options import rhythm_options_of
from service.commands.terminal import download_bar

if TYPE_CHECKING:
    from service.settings import Settings


class RecordingTranscriber(Protocol):
    """A loaded model: `mt3_model.transcribe.LocalTranscriber`, or a test's fake."""

    def transcribe(
        self,
        recording: Path,
        options: TranscriptionOptions | None = None,
        *,
        limits: ReadingLimits | None = None,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Transcription:
        """Transcribe one file; ``progress`` receives the seconds done and the total, or None."""
        ...


LoadTranscriber = Callable[["Settings"], RecordingTranscriber]


def transcribe_locally(
    parsed: argparse.Namespace,
    batch: Batch,
    tasks: Sequence[Task],
    load: LoadTranscriber | None = None,
) -> None:
    """Transcribe recordings on this machine.

    Args:
        parsed: the command line.
        batch: the display and the counts of written and failed recordings.
        tasks: the recordings and the paths of their results.
        load: loads the model; by default onto this machine's device.
    """
    settings = read_settings(parsed, "model", "checkpoint", "precision")
    options = TranscriptionOptions(
        model=settings.model,
        decoding=parsed.decoding,
        start=parsed.start,
        end=parsed.end,
        audio_track=parsed.audio_track,
        postprocess=parsed.postprocess or "default",
        instruments=tuple(parsed.instruments or ()),
        quality=parsed.quality or "standard",
        **rhythm_options_of(parsed),
        quantize=parsed.quantize or "none",
    )
    time_range = TimeRange(start=parsed.start, end=parsed.end)
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    batch.say(f"loading {settings.model} ...")
    transcriber = (load or load_local_transcriber)(settings)
    for task in tasks:
        batch.start(task)
        try:
            transcription = transcriber.transcribe(
                task.source, options, limits=limits, progress=_progress(batch, task, time_range)
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
                batch.complain(f"{task.label}: warning: {name_options(warning.message)}")


def _progress(
    batch: Batch, task: Task, time_range: TimeRange
) -> Callable[[float, float | None], None]:
    """Return a callback that shows the seconds done as a part of the transcribed range."""

    def show(done: float, total: float | None) -> None:
        seconds = time_range.seconds_of(total or 0.0)
        if seconds > 0:
            batch.advance(task, done / seconds)

    return show


def load_local_transcriber(settings: "Settings") -> RecordingTranscriber:
    """Load the model onto this machine's device, with a progress bar for a download."""
    from service.model_loading import load_local  # noqa: PLC0415

    with download_bar(settings.model) as show:
        return load_local(settings, show)


def _contents(transcription: Transcription, task: Task) -> list[bytes]:
    """Return a recording's results, one for each of its targets."""
    transcription_id, created = f"tr_{uuid.uuid4().hex}", int(time.time())
    title = task.source.stem.removeprefix(STANDARD_STREAM)
    return [
        export(
            transcription, ExportFormat(target.form), transcription_id=transcription_id,
            created=created, title=title,
        )
        for target in task.targets
    ]  # fmt: skip
