"""A unit of recordings: results, error records, retries, and the recovery after the process
died."""

import asyncio
import json
import os
import time

import pytest

from mt3_model.export.formats import ExportFormat
from service.bulk.sweeping import sweep
from service.bulk.unit_worker import UnitOutcome, UnitWorker
from service.errors import EngineError, StorageUnavailableError
from service.storage.objects import open_objects
from tests.unit.service.bulk.plans import Ear, files, plan_in, write


class Died(BaseException):
    """Stands for SIGKILL: nothing in the process handles it."""


def worker_in(folder, ear, plan=None, *, outputs=None, **options):
    plan = plan or plan_in(folder)
    (folder / "scratch").mkdir(exist_ok=True)
    return UnitWorker(
        plan, open_objects(plan.input_url, any_key=True),
        outputs or open_objects(plan.output_url, any_key=True), ear,
        **{"in_flight": 3, "pauses": (0.0, 0.0), "folder": folder / "scratch"} | options,
    )  # fmt: skip


def reason(folder, key):
    return json.loads((folder / "out" / f"{key}.error.json").read_text())


async def test_recordings_become_results_under_their_own_names(tmp_path):
    plan = plan_in(tmp_path, forms=(ExportFormat.MIDI, ExportFormat.JSON))
    write(tmp_path / "in", "a.wav", "x/50% größer #1?.wav")
    outcome = await worker_in(tmp_path, Ear(), plan).do(["a.wav", "x/50% größer #1?.wav"])
    assert outcome == UnitOutcome(done=2, audio_seconds=2.0)
    assert files(tmp_path / "out") == {
        "a.wav.mid", "a.wav.json", "x/50% größer #1?.wav.mid", "x/50% größer #1?.wav.json"
    }  # fmt: skip
    assert not files(tmp_path / "scratch")


async def test_several_run_at_once_but_no_more_than_allowed(tmp_path):
    class Slow(Ear):
        async def listen(self, _):
            await asyncio.sleep(0.05)

    keys = [f"{number}.wav" for number in range(7)]
    write(tmp_path / "in", *keys)
    ear = Slow()
    await worker_in(tmp_path, ear).do(keys)
    assert ear.most_at_once == 3


async def test_a_bad_recording_leaves_its_reason_and_harms_nobody(tmp_path):
    write(tmp_path / "in", "a.wav", "c.wav")
    write(tmp_path / "in", "b.wav", content=b"bad")
    outcome = await worker_in(tmp_path, Ear()).do(["a.wav", "b.wav", "c.wav", "gone.wav"])
    assert (outcome.done, outcome.failed, outcome.postponed) == (2, 2, 0)
    assert reason(tmp_path, "b.wav")["code"] == "audio_undecodable"
    assert reason(tmp_path, "b.wav")["message"] == "not audio"
    assert reason(tmp_path, "gone.wav")["code"] == "input_not_found"


async def test_what_nobody_foresaw_is_the_recordings_own_too(tmp_path):
    write(tmp_path / "in", "a.wav", "b.wav", content=b"odd")
    ear = Ear()
    ear.failing[b"odd"] = [ValueError("odd")]
    outcome = await worker_in(tmp_path, ear).do(["a.wav", "b.wav"])
    assert (outcome.done, outcome.failed) == (1, 1)
    (record,) = (name for name in files(tmp_path / "out") if name.endswith(".error.json"))
    found = reason(tmp_path, record.removesuffix(".error.json"))
    assert (found["code"], found["message"]) == ("internal_error", "ValueError: odd")


async def test_what_is_there_is_not_done_again(tmp_path):
    write(tmp_path / "in", "a.wav")
    write(tmp_path / "out", "a.wav.mid", content=b"old")
    ear = Ear()
    assert await worker_in(tmp_path, ear).do(["a.wav"]) == UnitOutcome(done=1)
    assert not ear.heard
    assert (tmp_path / "out" / "a.wav.mid").read_bytes() == b"old"


async def test_a_device_that_comes_back_is_waited_for(tmp_path):
    write(tmp_path / "in", "a.wav")
    ear = Ear()
    ear.failing[b"x"] = [EngineError("no", retry_after_seconds=1)] * 2
    assert (await worker_in(tmp_path, ear).do(["a.wav"])).done == 1


async def test_a_device_that_stays_away_is_given_up_and_leaves_no_reason(tmp_path):
    write(tmp_path / "in", "a.wav")
    ear, given_up = Ear(), []
    ear.failing[b"x"] = [EngineError("no", retry_after_seconds=1)] * 9
    outcome = await worker_in(tmp_path, ear, give_up=lambda: given_up.append(1)).do(["a.wav"])
    assert outcome == UnitOutcome(postponed=1)
    assert given_up
    assert not files(tmp_path / "out")


async def test_a_storage_that_stays_away_postpones_the_recording(tmp_path):
    write(tmp_path / "in", "a.wav", "b.wav", content=b"y")
    ear = Ear()
    ear.failing[b"y"] = [StorageUnavailableError("no")] * 3
    outcome = await worker_in(tmp_path, ear, in_flight=1).do(["a.wav", "b.wav"])
    assert (outcome.done, outcome.postponed) == (1, 1)
    assert [name for name in files(tmp_path / "out") if "error" in name] == []


async def test_a_retry_takes_the_reason_away(tmp_path):
    write(tmp_path / "in", "a.wav")
    write(tmp_path / "out", "a.wav.error.json")
    await worker_in(tmp_path, Ear(), plan_in(tmp_path, retry_failed=True)).do(["a.wav"])
    assert files(tmp_path / "out") == {"a.wav.mid"}


async def test_what_kills_the_process_is_found_and_its_neighbours_are_done(tmp_path):
    class Deadly(Ear):
        async def listen(self, content):
            self.heard.append(content)
            if content == b"deadly":
                raise Died

    keys = ["a.wav", "deadly.wav", "z.wav"]
    write(tmp_path / "in", "a.wav", "z.wav")
    write(tmp_path / "in", "deadly.wav", content=b"deadly")
    for _ in range(2):  # together
        with pytest.raises(Died):
            await worker_in(tmp_path, Deadly()).do(keys)
    ear = Deadly()
    with pytest.raises(Died):  # alone
        await worker_in(tmp_path, ear).do(keys)
    assert ear.most_at_once == 1
    outcome = await worker_in(tmp_path, Deadly()).do(keys)
    assert (outcome.done, outcome.failed) == (2, 1)
    assert reason(tmp_path, "deadly.wav")["code"] == "worker_died"
    assert files(tmp_path / "out") == {"a.wav.mid", "z.wav.mid", "deadly.wav.error.json"}


async def test_another_runs_marks_blame_nobody(tmp_path):
    class Deadly(Ear):
        async def listen(self, _):
            raise Died

    write(tmp_path / "in", "a.wav")
    for run in ("one", "two", "three", "four"):
        with pytest.raises(Died):
            await worker_in(tmp_path, Deadly(), plan_in(tmp_path, run_id=run)).do(["a.wav"])
    assert (await worker_in(tmp_path, Ear(), plan_in(tmp_path, run_id="five")).do(["a.wav"])).done


async def test_a_unit_with_nothing_left_asks_nothing_of_the_storage(tmp_path):
    class Nowhere:
        def __getattr__(self, name):
            raise AssertionError(name)

    assert await worker_in(tmp_path, Ear(), outputs=Nowhere()).do([]) == UnitOutcome()


async def test_a_sweep_takes_this_runs_leavings_and_old_ones_and_no_result(tmp_path):
    out = tmp_path / "out"
    run, old, young = ("0" * 16, "a" * 16, "b" * 16)
    unit = "c" * 32
    marks = [f"_begun/{name}/{unit}" for name in (run, old, young)]
    half_written = [f"tmp/{'d' * 32}", f"tmp/{'e' * 32}"]
    results = ["d.wav.mid", "tmp/d.wav.mid", "_begun/d.wav.error.json"]
    write(out, *marks, *half_written, *results)
    for key in (marks[1], half_written[0], *results):
        day_ago = time.time() - 90_000
        os.utime(out / key, (day_ago, day_ago))
    await sweep(plan_in(tmp_path, run_id=run))
    assert files(out) == {marks[2], half_written[1], *results}
