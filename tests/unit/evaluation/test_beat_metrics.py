"""Beats of MIDI files are compared where the reference's are known."""

import json

import mido
import numpy as np
import pytest

from mt3_model.errors import OptionError
from mt3_model.evaluation.beat_metrics import read_beats_file, score_beats
from mt3_model.evaluation.report import evaluate_folders

BEATS = np.arange(40) * 0.5 + 6.0


def test_equal_beats_agree_wholly():
    agreement = score_beats(BEATS, BEATS + 0.02)
    assert (agreement.f1, agreement.tempo, agreement.tempo_any_level) == (1.0, 1.0, 1.0)


def test_beats_outside_the_reference_do_not_count():
    assert score_beats(BEATS, np.arange(100) * 0.5).f1 == 1.0


def test_half_the_tempo_is_right_at_another_level_only():
    agreement = score_beats(BEATS, BEATS[::2])
    assert agreement.f1 == pytest.approx(2 / 3, abs=0.02)
    assert (agreement.tempo, agreement.tempo_any_level) == (0.0, 1.0)


def test_no_beats_agree_with_nothing():
    agreement = score_beats(BEATS, np.array([1.0]))
    assert (agreement.f1, agreement.tempo, agreement.tempo_any_level) == (0.0, 0.0, 0.0)


def midi(path, *, tempi):
    track = mido.MidiTrack([mido.Message("note_on", note=60, velocity=80)])
    track.append(mido.Message("note_off", note=60, time=480 * 40))
    conductor = mido.MidiTrack(
        mido.MetaMessage("set_tempo", tempo=tempo, time=480 * (i > 0))
        for i, tempo in enumerate(tempi)
    )
    mido.MidiFile(ticks_per_beat=480, tracks=[conductor, track]).save(path)


def folders(tmp_path, reference_tempi):
    for name, tempi in (("reference", reference_tempi), ("estimate", [500_000, 500_100])):
        (tmp_path / name).mkdir()
        midi(tmp_path / name / "a.mid", tempi=tempi)
    return tmp_path / "reference", tmp_path / "estimate"


def test_a_reference_with_a_tempo_map_has_beats(tmp_path):
    report = evaluate_folders(*folders(tmp_path, [500_000, 500_050]))
    assert json.loads(report.to_json())["beats"]["mean"]["f1"] == 1.0
    assert "beats: F1 1.0000" in report.to_table()


def test_a_reference_with_one_tempo_has_none_but_those_listed(tmp_path):
    reference, estimate = folders(tmp_path, [500_000])
    assert "beats" not in json.loads(evaluate_folders(reference, estimate).to_json())
    listed = {"a": {"beats": list(np.arange(12, 39) * 0.5)}}
    (reference / "beats.json").write_text(json.dumps(listed))
    report = evaluate_folders(reference, estimate)
    assert json.loads(report.to_json())["beats"]["clips"]["a"]["tempo"] == 1.0


@pytest.mark.parametrize("text", ["[", "[]", '{"a": {}}', '{"a": {"beats": "x"}}'])
def test_another_form_of_the_beats_is_refused(tmp_path, text):
    (tmp_path / "beats.json").write_text(text)
    with pytest.raises(OptionError, match="does not list beats"):
        read_beats_file(tmp_path)
