"""The whole measurement with a real pool of slots, of a model small enough for a unit test."""

import argparse
import json

import pytest

from mt3_model.audio.recording import ReadingLimits
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.transcription import ModelProvenance
from service.benchmark.plan import add_benchmark_options, make_plan
from service.benchmark.run import run_benchmark
from service.model_loading import LoadedModel
from tests.unit.generation.tiny_model import TINY, random_parameters

pytestmark = pytest.mark.slow


SLOTS = 4


@pytest.fixture(scope="module")
def measured():
    """The report, what was announced, and what was shown."""
    parser = argparse.ArgumentParser()
    add_benchmark_options(parser)
    parsed = parser.parse_args(["--seconds", "0.5", "--concurrency", "1,2"])
    shapes = SlotShapes(rows=(SLOTS,), encode_batches=(2,), iteration_steps=4)
    loaded = LoadedModel(
        spec=TINY,
        provenance=ModelProvenance(
            name="tiny", checkpoint_sha256="0", code_version="0", precision="float32"
        ),
        backend=SlotPool(TINY, random_parameters(), shapes=shapes),
    )
    announced, shown = [], []
    report = run_benchmark(
        loaded,
        make_plan(parsed, []),
        limits=ReadingLimits(),
        load_seconds=1.5,
        announce=announced.append,
        show=lambda *phase: shown.append(phase),
    )
    # Every slot is free again.
    loaded.backend.release(range(SLOTS))
    assert loaded.backend.step() == []
    return report, announced, shown


def test_callers_and_stages_have_the_work_of_the_recording(measured):
    report, _, _ = measured
    # Half a second is 62.5 frames: eight segments of eight.
    assert [result.segments for result in report.callers] == [8, 16]
    assert report.callers[1].tokens == 2 * report.callers[0].tokens
    stages = {stage.name: stage for stage in report.stages}
    assert list(stages) == ["decode", "mel", "encode", "generate", "notes", "export"]
    assert stages["mel"].units == stages["encode"].units == 8
    assert stages["generate"].units == stages["notes"].units == report.callers[0].tokens
    assert all(stage.seconds > 0 for stage in report.stages)
    assert stages["mel"].seconds < 10 * stages["encode"].seconds


def test_the_setting_and_the_start_are_reported(measured):
    report, _, _ = measured
    setting = report.setting
    assert (setting.slots, setting.encode_batch) == (SLOTS, 2)
    assert setting.seconds == 0.5
    assert report.load_seconds == 1.5
    assert report.warm_up_seconds > 0
    model = json.loads(report.to_json())["model"]
    assert (model["name"], model["precision"]) == ("tiny", "float32")


def test_what_is_done_is_announced_once_and_shown_as_it_goes(measured):
    _, announced, shown = measured
    (text,) = announced
    assert "1, 2 callers at once, each with 0.5 s of synthesized piece" in text
    phases = list(dict.fromkeys(phase for phase, _, _ in shown))
    assert phases == [
        "preparing", "warming up", "1 at once", "2 at once", "stages"
    ]  # fmt: skip
    done = [(done, total) for phase, done, total in shown if phase == "2 at once"]
    assert done[0] == (0, 1.0)
    assert done[-1][0] == pytest.approx(1.0, abs=0.02)  # whole frames of 8 ms
