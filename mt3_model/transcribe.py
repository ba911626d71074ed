"""A recording -> its transcription, offline: the whole road in one file, and the first to read.

    open_recording      bytes     -> blocks of samples   mt3_model/audio (a process of its own)
    split_segments      blocks    -> segments            mt3_model/spectrogram/segments.py
    generate            segments  -> tokens              mt3_model/generation/offline.py
    RecordingAssembler  tokens    -> notes               mt3_model/notes/assembling.py

Segments are read as slots become free, so memory does not grow with the recording.
The service walks the same road with its engine in the place of `generate`
(`service/transcription.py`) and returns the same notes.
"""

import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax

from mt3_model.audio.isolation import open_recording
from mt3_model.audio.reading import ReadingLimits
from mt3_model.audio.recording import TimeRange
from mt3_model.checkpoint.download import Progress as DownloadProgress
from mt3_model.checkpoint.environment import REPOSITORY_FOLDER, read_model_settings
from mt3_model.checkpoint.loading import Checkpoint, load_checkpoint
from mt3_model.checkpoint.locating import find_checkpoint
from mt3_model.checkpoint.manifest import read_entry
from mt3_model.errors import CheckpointError, OptionError
from mt3_model.generation.offline import generate
from mt3_model.generation.pool import Pool, open_pool, prepare_kernels
from mt3_model.generation.precision import choose_precision
from mt3_model.notes.assembling import RecordingAssembler, to_transcription_warnings
from mt3_model.notes.transcription import (
    ModelProvenance,
    Precision,
    PrecisionChoice,
    Transcription,
    TranscriptionOptions,
    check_precision,
)
from mt3_model.spec import MODELS, ModelSpec
from mt3_model.spectrogram.segments import split_segments

_logger = logging.getLogger(__name__)

Progress = Callable[[float, float | None], None]
"""Told, after each segment, the seconds of sound done and the recording's length if it is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalTranscriber:
    """One model on this machine's device. Not thread-safe: one recording at a time."""

    spec: ModelSpec
    pool: Pool
    model: ModelProvenance

    def transcribe(
        self,
        recording: Path,
        options: TranscriptionOptions | None = None,
        *,
        limits: ReadingLimits | None = None,
        progress: Progress | None = None,
    ) -> Transcription:
        """Transcribes one audio file.

        Args:
            recording: A file in any format that `mt3_model/audio` reads.
            options: What to transcribe and how; by default all of it, greedily.
            limits: What a recording may ask of this machine.
            progress: Told how far it is.

        Raises:
            AudioError: The file cannot be read, is empty or exceeds a limit.
            OptionError: An option is out of its range.
        """
        options = options or TranscriptionOptions(model=self.spec.name)
        check_precision(options, self.model)
        began = time.perf_counter()
        assembler = RecordingAssembler(self.spec, options)
        with contextlib.closing(
            open_recording(
                recording,
                sample_rate=self.spec.spectrogram.sample_rate,
                start=options.start,
                end=options.end,
                audio_track=options.audio_track,
                limits=limits or ReadingLimits(),
            )
        ) as source:
            segments = split_segments(source.blocks(), self.spec)
            for segment, generated in generate(self.pool, segments, options.decoding):
                assembler.add_segment(segment, generated)
                if progress is not None:
                    ended = segment.start_time + self.spec.segment_seconds
                    progress(min(ended, source.seconds), source.info.duration_seconds)
            warnings = to_transcription_warnings(source.warnings)
            duration = source.seconds
            whole = TimeRange(start=options.start, end=options.end).recording_seconds(
                read=duration, declared=source.info.duration_seconds
            )
        return assembler.finish(
            model=self.model,
            duration_seconds=duration,
            recording_seconds=whole,
            warnings=warnings,
            wall_seconds=time.perf_counter() - began,
        )


def load_transcriber(
    model: str = "mt3",
    checkpoint: Path | None = None,
    *,
    slots: int | None = None,
    precision: PrecisionChoice = "auto",
    offline: bool | None = None,
    compilation_cache: Path | None = None,
    repository_folder: Path | None = None,
    mirror: str | None = None,
    download_progress: DownloadProgress | None = None,
) -> LocalTranscriber:
    """Finds (or downloads) a model's checkpoint and puts it on the device.

    What is left out is read from the environment, by the names that the program `mt3` reads.

    Args:
        model: A name of `mt3_model.spec.MODELS`.
        checkpoint: A T5X folder or a converted file; by default `MT3_CHECKPOINT`, else the first
            that `mt3_model/checkpoint/locating.py` finds.
        slots: Segments that generate at once on each device; by default what suits it.
        precision: Of the network's products (`mt3_model/generation/precision.py`).
        offline: Never download; by default as `MT3_OFFLINE` says.
        compilation_cache: A folder in which compiled programs are kept between runs; by default
            `MT3_COMPILATION_CACHE_DIR`, else the user's cache folder.
        repository_folder: Where a `checkpoints/` folder may be, beside the user's cache; by
            default the one of this code.
        mirror: A URL to download from in the published one's place; by default
            `MT3_CHECKPOINT_MIRROR_URL`.
        download_progress: Told of a download's (bytes done, bytes in all).

    Raises:
        OptionError: There is no such model.
        CheckpointError: Its parameters cannot be had.
    """
    spec = find_spec(model)
    settings = read_model_settings(os.environ)
    try:
        path = find_checkpoint(
            model,
            explicit=checkpoint or settings.checkpoint,
            repository_folder=repository_folder or REPOSITORY_FOLDER,
            offline=settings.offline if offline is None else offline,
            progress=download_progress,
            entry=read_entry(model, mirror=mirror or settings.mirror),
        )
    except CheckpointError as error:
        # The message says it all; the failed requests behind it would be a hundred lines more.
        raise error.with_traceback(None) from None
    enable_compilation_cache(compilation_cache or settings.compilation_cache)
    with concurrent.futures.ThreadPoolExecutor(1, "loading") as thread:
        loading = thread.submit(load_checkpoint, path, spec)
        # Meanwhile, since reading is not Python's work:
        chosen = choose_precision(precision)
        prepare_kernels(chosen)
        loaded = loading.result()
    return LocalTranscriber(
        spec=spec,
        pool=open_pool(spec, loaded.parameters, precision=chosen, slots=slots),
        model=build_provenance(spec, loaded, chosen, setting=precision),
    )


def find_spec(model: str) -> ModelSpec:
    """The spec of a published model; refuses an unknown name with the known ones."""
    if model not in MODELS:
        raise OptionError("model", f"model is {model!r}; expected one of {', '.join(MODELS)}")
    return MODELS[model]


def build_provenance(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    precision: Precision,
    *,
    setting: PrecisionChoice = "auto",
) -> ModelProvenance:
    """What every result says of its making."""
    return ModelProvenance(
        name=spec.name,
        checkpoint_sha256=checkpoint.sha256,
        code_version=metadata.version("mt3-service"),
        precision=precision,
        precision_setting=setting,
    )


def enable_compilation_cache(folder: Path) -> None:
    """Lets JAX keep compiled programs in ``folder`` and find them there in later runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _logger.warning("compiled programs are not kept: %s: %s", folder, error.strerror)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
