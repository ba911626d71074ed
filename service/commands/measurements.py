"""`mt3 evaluate` and `mt3 benchmark`: measure accuracy and speed."""

import argparse

from mt3_model.audio.recording import ReadingLimits
from mt3_model.evaluation.report import evaluate_folders
from service.benchmark.command import run_command
from service.benchmark.plan import make_plan
from service.commands.command_settings import read_settings
from service.commands.recording_search import expand_globs
from service.commands.result_files import require_writable, write_whole
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, download_bar, say
from service.model_loading import LoadedModel, load_local, load_model


def evaluate(parsed: argparse.Namespace) -> int:
    """Score a folder of MIDI files against references; return the exit code."""
    require_writable(parsed.json)
    report = evaluate_folders(parsed.reference, parsed.estimate)
    say(report.to_table())
    if parsed.json is not None:
        write_whole(report.to_json().encode(), parsed.json)
    return EXIT_FAILED if report.failed or report.missing else EXIT_DONE


def benchmark(parsed: argparse.Namespace) -> int:
    """Measure speed and memory on this machine; return the exit code."""
    settings = read_settings(parsed, "model", "checkpoint", "slots", "precision")
    require_writable(parsed.json)  # not after minutes of measuring
    plan = make_plan(parsed, expand_globs(parsed.recordings))

    def load() -> LoadedModel:
        if settings.backend == "fake":
            return load_model(settings)
        with download_bar(settings.model) as show:
            local = load_local(settings, show)
        return LoadedModel(spec=local.spec, provenance=local.model, backend=local.backend)

    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    report = run_command(load, plan, limits=limits, write=say)
    if parsed.json is not None:
        write_whole(f"{report.to_json()}\n".encode(), parsed.json)
    return EXIT_DONE
