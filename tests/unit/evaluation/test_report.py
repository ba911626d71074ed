import json
import pathlib

import pretty_midi
import pytest

from mt3_model.errors import OptionError
from mt3_model.evaluation.report import METRICS, evaluate_folders, score_note_sequences
from mt3_model.notes.note import Note, NoteSequence


def write_midi(path: pathlib.Path, *pitches: int) -> None:
    path.parent.mkdir(exist_ok=True)
    midi = pretty_midi.PrettyMIDI()
    instrument = pretty_midi.Instrument(program=0)
    instrument.notes = [pretty_midi.Note(90, pitch, 1.0, 2.0) for pitch in pitches]
    midi.instruments.append(instrument)
    midi.write(str(path))


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    reference, estimate = tmp_path / "reference", tmp_path / "estimate"
    write_midi(reference / "right.mid", 60)
    write_midi(reference / "half.mid", 60, 64)
    write_midi(reference / "lost.mid", 60)
    write_midi(estimate / "right.mid", 60)
    write_midi(estimate / "half.mid", 60)
    return reference, estimate


def test_means_are_over_the_clips_that_have_an_estimate(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    report = evaluate_folders(*folders)
    assert list(report.clips) == ["half", "right"]
    assert report.missing == ("lost",)
    # half: precision 1, recall 1/2, F1 2/3; right: 1; mean 5/6.
    assert report.mean()["onset"] == pytest.approx(5 / 6)
    assert report.mean()["drum"] is None


def test_missing_estimate_can_count_as_empty(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    report = evaluate_folders(*folders, missing_as_empty=True)
    assert report.clips["lost"].scores["onset"].f1 == 0.0
    assert report.missing == ("lost",)


def test_unreadable_estimate_is_named_and_left_out(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    (folders[1] / "lost.mid").write_bytes(b"not midi")
    report = evaluate_folders(*folders)
    assert "cannot be read as MIDI" in report.failed["lost"]
    assert "lost" not in report.clips


def test_unreadable_reference_is_named_and_left_out(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    (folders[0] / "right.mid").write_bytes(b"not midi")
    report = evaluate_folders(*folders, missing_as_empty=True)
    assert list(report.failed) == ["right"]
    assert "right" not in report.clips


def test_manifest_limits_the_metrics_of_a_clip(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    entries = [{"midi": "half.mid", "eval": ["frame"]}]
    (folders[0] / "manifest.json").write_text(json.dumps(entries))
    report = evaluate_folders(*folders)
    assert list(report.clips["half"].scores) == ["frame"]
    assert report.mean()["onset"] == 1.0  # of the clip "right" alone


def test_kinds_have_means_of_their_own(folders: tuple[pathlib.Path, pathlib.Path]) -> None:
    entries = [{"midi": "half.mid", "kind": "real"}, {"midi": "right.mid", "kind": "synth"}]
    (folders[0] / "manifest.json").write_text(json.dumps(entries))
    content = json.loads(evaluate_folders(*folders).to_json())
    assert content["mean_by_kind"]["synth"]["onset"] == 1.0
    assert content["mean_by_kind"]["real"]["onset"] == pytest.approx(2 / 3)


def test_table_has_a_line_per_clip_and_the_mean(
    folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
    (folders[1] / "right.mid").write_bytes(b"not midi")
    lines = evaluate_folders(*folders).to_table().splitlines()
    assert lines[0].split() == ["clip", "ref", "est", *METRICS]
    assert lines[2].split()[:4] == ["half", "2", "1", "0.6667"]
    assert lines[4].startswith("MEAN (1 clips)")
    assert lines[-2] == "missing estimates: lost"
    assert lines[-1].startswith("FAILED right: right.mid cannot be read")


@pytest.mark.parametrize("parameter", ["reference", "estimate"])
def test_folder_that_is_none_is_rejected(
    folders: tuple[pathlib.Path, pathlib.Path], parameter: str
) -> None:
    nowhere = {parameter: folders[0] / "nowhere"}
    arguments = {"reference": folders[0], "estimate": folders[1], **nowhere}
    with pytest.raises(OptionError, match="is not a folder") as refusal:
        evaluate_folders(**arguments)
    assert refusal.value.parameter == parameter


def test_note_sequences_are_scored_in_memory() -> None:
    note = Note(pitch=60, start_time=0.0, end_time=1.0, velocity=90, program=1)
    heard = Note(pitch=60, start_time=0.0, end_time=1.0, velocity=90, program=2)
    report = score_note_sequences(
        NoteSequence(notes=(note,), total_time=1.0), NoteSequence(notes=(heard,), total_time=1.0)
    )
    assert {metric: score.f1 for metric, score in report.scores.items()} == {
        "onset": 1.0,
        "on+off": 1.0,
        "frame": 1.0,
        "full": 0.0,
        "midi_class": 1.0,
        "flat": 1.0,
    }
