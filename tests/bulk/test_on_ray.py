"""`mt3 bulk` on a local Ray writes all correct results, even if processes die."""

import json
import os
import signal

import mido
import numpy as np
import pytest
import soundfile

from tests.bulk.driver import driving
from tests.bulk.recordings import SAMPLE_RATE, files, write_recordings
from tests.bulk.watched_program import FOLDER, processes

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3_000)]  # Ray is slow on a busy machine
COUNT = 60


@pytest.fixture
def places(tmp_path):
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    return inputs, outputs


def results_of(keys):
    return {f"{key}.mid" for key in keys}


def are_right(outputs, keys):
    """Check the fake backend's result for three seconds: two piano notes and two drum notes."""
    for key in keys:
        tracks = mido.MidiFile(outputs / f"{key}.mid").tracks
        onsets = [m.note for track in tracks for m in track if m.type == "note_on" and m.velocity]
        assert sorted(onsets) == [36, 36, 60, 61]


def whole(outputs):
    """Return the published files, without partial files of killed processes."""
    return {key for key in files(outputs) if not key.startswith("tmp/")}


def written_at(outputs):
    return {key: (outputs / key).stat().st_mtime_ns for key in whole(outputs)}


def results_in(outputs):
    return {key: at for key, at in written_at(outputs).items() if key.endswith(".mid")}


def test_everything_is_done_once_and_bad_recordings_leave_their_reasons(places):
    inputs, outputs = places
    keys = write_recordings(inputs, COUNT)
    (inputs / "bad.wav").write_bytes(b"this is no sound")
    (inputs / "empty.mp3").touch()
    (inputs / "cover.jpg").write_bytes(b"not asked for")
    with driving(inputs, outputs) as driver:
        code, counts = driver.wait()
    assert (code, counts["listed"], counts["done"], counts["failed"]) == (1, COUNT + 2, COUNT, 2)
    assert counts["lost"] == counts["postponed"] == counts["skipped"] == 0
    assert counts["audio_seconds"] == pytest.approx(3.0 * COUNT)
    errors = {"bad.wav.error.json", "empty.mp3.error.json"}
    assert files(outputs) == results_of(keys) | errors
    are_right(outputs, keys)
    reason = json.loads((outputs / "bad.wav.error.json").read_text())
    assert (reason["input"], reason["code"]) == ("bad.wav", "audio_undecodable")

    before = written_at(outputs)
    write_recordings(inputs / "more", 1)
    soundfile.write(inputs / "bad.wav", np.zeros(3 * SAMPLE_RATE), SAMPLE_RATE)
    with driving(inputs, outputs, "--retry-failed") as driver:
        code, counts = driver.wait()
    assert (counts["done"], counts["failed"], counts["skipped"]) == (2, 1, COUNT)
    after = written_at(outputs)
    assert after.keys() - before.keys() == {"more/album 0/000.wav.mid", "bad.wav.mid"}
    assert before.keys() - after.keys() == {"bad.wav.error.json"}
    assert all(after[key] == before[key] for key in results_of(keys))


def test_a_killed_run_is_continued_by_the_next(places, show):
    inputs, outputs = places
    keys = write_recordings(inputs, COUNT)
    with driving(inputs, outputs, iteration_seconds=0.2) as driver:
        driver.wait_for(outputs, COUNT // 3)
        driver.kill()
    present = results_in(outputs)
    assert COUNT // 3 <= len(present) < COUNT
    are_right(outputs, [name.removesuffix(".mid") for name in present])
    with driving(inputs, outputs) as driver:
        code, counts = driver.wait()
    show(f"killed with {len(present)} of {COUNT} results; then {counts['done']} done")
    assert (code, counts["lost"], counts["failed"], counts["postponed"]) == (0, 0, 0, 0)
    assert (counts["skipped"], counts["done"]) == (len(present), COUNT - len(present))
    after = results_in(outputs)
    assert after.keys() == results_of(keys)
    assert all(after[key] == at for key, at in present.items())
    are_right(outputs, keys)


def test_a_killed_actor_is_replaced_and_nothing_is_lost_or_done_again(places, tmp_path, show):
    inputs, outputs = places
    keys = write_recordings(inputs, COUNT)
    actors = tmp_path / "actors"
    actors.mkdir()
    with driving(
        inputs, outputs, iteration_seconds=0.2, module="tests.bulk.watched_program",
        variables={FOLDER: str(actors)},
    ) as driver:  # fmt: skip
        driver.wait_for(outputs, COUNT // 4)
        killed = processes(actors, "working")[0]
        os.kill(killed, signal.SIGKILL)
        present = results_in(outputs)
        code, counts = driver.wait()
    show(f"one of two actors killed with {len(present)} of {COUNT} results")
    assert (code, counts["done"], counts["lost"], counts["skipped"]) == (0, COUNT, 0, 0)
    assert whole(outputs) == results_of(keys)
    assert all(results_in(outputs)[key] == at for key, at in present.items())
    are_right(outputs, keys)


def test_a_recording_that_kills_its_process_is_found_and_its_neighbours_are_done(places):
    inputs, outputs = places
    keys = write_recordings(inputs, 12)
    soundfile.write(inputs / "deadly.wav", np.full(3 * SAMPLE_RATE, 0.99), SAMPLE_RATE)
    with driving(inputs, outputs, module="tests.bulk.deadly_program") as driver:
        code, counts = driver.wait()
    assert (code, counts["done"], counts["failed"], counts["lost"]) == (1, 12, 1, 0)
    assert whole(outputs) == results_of(keys) | {"deadly.wav.error.json"}
    assert json.loads((outputs / "deadly.wav.error.json").read_text())["code"] == "worker_died"
    are_right(outputs, keys)


def test_ray_is_started_again_if_its_start_took_too_long(places):
    inputs, outputs = places
    keys = write_recordings(inputs, 2)
    with driving(inputs, outputs, module="tests.bulk.late_program") as driver:
        code, counts = driver.wait()
    assert (code, counts["done"]) == (0, 2)
    are_right(outputs, keys)
