"""Transcribe a recording without a server: the whole pipeline in one file; read it first.

    open_recording      bytes     -> blocks of samples   mt3_model/audio (in a separate process)
    split_recording     blocks    -> segments            mt3_model/spectrogram/segments.py
    generate            segments  -> tokens              mt3_model/generation/offline.py
    RecordingAssembler  tokens    -> notes               mt3_model/notes/assembling.py
    clean_up            notes     -> cleaned notes       mt3_model/postprocessing
    add_musical_time    notes     -> beats, bars, key    mt3_model/rhythm

Every stage is a generator or is called once per segment, and the next segment is read only when a
slot is free, so memory use does not grow with the length of the recording. The server runs the
same pipeline with its engine in place of `generate` (`service/transcriber.py`) and returns the
same notes.
"""

import concurrent.futures
import contextlib
import ctypes
import dataclasses
import logging
import os
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mt3_model.audio.isolation import open_recording
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.checkpoint.download import Progress as DownloadProgress
from mt3_model.checkpoint.environment import REPOSITORY_FOLDER, read_model_settings
from mt3_model.checkpoint.loading import Checkpoint, load_checkpoint
from mt3_model.checkpoint.locating import find_checkpoint
from mt3_model.checkpoint.manifest import read_entry
from mt3_model.errors import CheckpointError, OptionError
from mt3_model.generation.backend import Backend
from mt3_model.generation.offline import generate
from mt3_model.notes.assembling import to_transcription_warnings
from mt3_model.notes.instruments_option import parse_instruments
from mt3_model.notes.named_instruments import forbid_unnamed
from mt3_model.notes.transcription import (
    KernelsChoice,
    ModelProvenance,
    PrecisionChoice,
    Transcription,
    TranscriptionOptions,
    check_precision,
)
from mt3_model.postprocessing.cleaning import clean_up_transcription, open_sound
from mt3_model.postprocessing.two_passes import open_assembler, split_recording
from mt3_model.postprocessing.voice import warn_of_voice
from mt3_model.rhythm.estimation import add_musical_time, check_rhythm_options
from mt3_model.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    # At run time `load_transcriber` imports it, and JAX with it, while the checkpoint is read.
    from mt3_model.hardware import Arithmetic

_logger = logging.getLogger(__name__)

Progress = Callable[[float, float | None], None]
"""Called after each segment with the seconds transcribed so far and the recording's length in
seconds, or None while the length is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalTranscriber:
    """A loaded model that transcribes one recording at a time. Not thread-safe.

    Attributes:
        spec: The model's sizes and vocabulary.
        backend: The model on the device, with its generation slots.
        model: Name, checkpoint and precision, as written into every transcription.
    """

    spec: ModelSpec
    backend: Backend
    model: ModelProvenance

    def transcribe(
        self,
        recording: Path,
        options: TranscriptionOptions | None = None,
        *,
        limits: ReadingLimits | None = None,
        progress: Progress | None = None,
    ) -> Transcription:
        """Transcribe one audio file.

        Args:
            recording: A file in any format that `mt3_model/audio` reads.
            options: The range to transcribe and how to decode it; by default the whole file with
                greedy decoding.
            limits: The longest recording and the maximum number of channels to accept.
            progress: Called after each segment.

        Raises:
            AudioError: The file cannot be read, is empty or exceeds a limit.
            OptionError: An option is out of its range.
        """
        options = options or TranscriptionOptions(model=self.spec.name)
        check_precision(options, self.model)
        check_rhythm_options(options)
        started = time.perf_counter()
        assembler = open_assembler(self.spec, options)
        forbidden = forbid_unnamed(self.spec.vocabulary, parse_instruments(options.instruments))
        sound = open_sound(options, self.spec.spectrogram.sample_rate)
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
            segments = split_recording(source.blocks(), self.spec, options.quality)
            for segment, generated in generate(self.backend, segments, options.decoding, forbidden):
                assembler.add_segment(segment, generated)
                if sound is not None and not segment.is_second_pass:
                    sound.add_samples(segment.samples)
                if progress is not None:
                    ended = segment.start_time + self.spec.segment_seconds
                    progress(min(ended, source.seconds), source.info.duration_seconds)
            warnings = to_transcription_warnings(source.warnings)
            duration = source.seconds
            recording_seconds = TimeRange(start=options.start, end=options.end).recording_seconds(
                read=duration, declared=source.info.duration_seconds
            )
        transcription = assembler.finish(
            model=self.model,
            duration_seconds=duration,
            recording_seconds=recording_seconds,
            warnings=(*warnings, *warn_of_voice(sound)),
            wall_seconds=time.perf_counter() - started,
        )
        return add_musical_time(clean_up_transcription(transcription, sound))


def load_transcriber(
    model: str = "mt3",
    checkpoint: Path | None = None,
    *,
    slots: int | None = None,
    precision: PrecisionChoice = "auto",
    cpu_kernels: KernelsChoice = "auto",
    gpu_kernels: KernelsChoice = "auto",
    reproducible: bool = False,
    offline: bool | None = None,
    compilation_cache: Path | None = None,
    repository_folder: Path | None = None,
    mirror: str | None = None,
    download_progress: DownloadProgress | None = None,
) -> LocalTranscriber:
    """Find or download a model's checkpoint and load it onto the device.

    Omitted arguments are read from the environment variables that the `mt3` command also reads.

    Args:
        model: A name in `mt3_model.spec.MODELS`.
        checkpoint: A T5X folder or a converted file; by default `MT3_CHECKPOINT`, else the first
            that `mt3_model/checkpoint/locating.py` finds.
        slots: Segments generated at the same time on each device; by default chosen for the device.
        precision: The precision of matrix products (`mt3_model/hardware.py`).
        cpu_kernels: Whether to use the CPU's own programs (`mt3_model/cpu`) or XLA's.
        gpu_kernels: Whether to use our own attention on NVIDIA GPUs or XLA's.
        reproducible: Whether a recording's tokens must not depend on what else is generated.
        offline: Never download; by default the value of `MT3_OFFLINE`.
        compilation_cache: The folder that keeps compiled programs between runs; by default
            `MT3_COMPILATION_CACHE_DIR`, else the user's cache folder.
        repository_folder: The folder whose `checkpoints/` is searched before the user's cache; by
            default this repository's.
        mirror: A URL to download from instead of the published one; by default
            `MT3_CHECKPOINT_MIRROR_URL`.
        download_progress: Called during a download with (bytes done, total bytes).

    Raises:
        OptionError: No published model has this name, or our own programs cannot run here.
        CheckpointError: The checkpoint cannot be found, downloaded or read.
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
        # The message is complete; the chain of failed requests would add a hundred lines.
        raise error.with_traceback(None) from None
    with concurrent.futures.ThreadPoolExecutor(1, "loading") as thread:
        # The thread reads and packs the parameters, without the interpreter's lock; meanwhile this
        # one imports JAX, which takes half a second, and compiles.
        loading = thread.submit(load_checkpoint, path, spec)
        from mt3_model import hardware  # noqa: PLC0415

        enable_compilation_cache(compilation_cache or settings.compilation_cache)
        arithmetic = hardware.choose_arithmetic(precision, cpu_kernels, gpu_kernels)
        opening = thread.submit(
            lambda: hardware.open_backend(
                spec,
                loading.result().parameters,
                arithmetic,
                slots=slots,
                reproducible=reproducible,
            )
        )
        hardware.prepare_kernels(arithmetic)
        provenance = build_provenance(spec, loading.result(), arithmetic, setting=precision)
        backend = opening.result()
    # The backend has its own copy of the checkpoint's arrays.
    del loading
    return_freed_memory()
    return LocalTranscriber(spec=spec, backend=backend, model=provenance)


def find_spec(model: str) -> ModelSpec:
    """Return the spec of a published model.

    Raises:
        OptionError: No published model has this name; the message lists the names.
    """
    if model not in MODELS:
        raise OptionError("model", f"model is {model!r}; expected one of {', '.join(MODELS)}")
    return MODELS[model]


def build_provenance(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    arithmetic: "Arithmetic",
    *,
    setting: PrecisionChoice = "auto",
) -> ModelProvenance:
    """Describe a loaded model as it is recorded in every transcription.

    Args:
        spec: The model's spec.
        checkpoint: The loaded checkpoint.
        arithmetic: The precision it is loaded in, and the programs that compute.
        setting: The requested precision.
    """
    return ModelProvenance(
        name=spec.name,
        checkpoint_sha256=checkpoint.sha256,
        code_version=metadata.version("mt3-service"),
        precision=arithmetic.precision,
        precision_setting=setting,
        kernels=arithmetic.kernels,
        instruction_set=arithmetic.instruction_set,
    )


def enable_compilation_cache(folder: Path) -> None:
    """Make JAX keep compiled programs in ``folder``, so that later runs start faster.

    A folder that cannot be created is logged, and the cache stays off.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _logger.warning("compiled programs are not cached: %s: %s", folder, error.strerror)
        return
    import jax  # noqa: PLC0415

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def return_freed_memory() -> None:
    """Return freed memory to the operating system.

    glibc keeps most of it for each thread that allocated: 175 MB of the 183 MB of MT3's checkpoint,
    which TensorStore's threads read. Other C libraries lack this function.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
