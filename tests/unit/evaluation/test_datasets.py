import json
import pathlib

import pretty_midi
import pytest

from mt3_model.errors import MT3Error, OptionError
from mt3_model.evaluation.datasets import (
    find_estimate,
    list_references,
    read_manifest,
    read_midi,
)


def write_midi(
    path: pathlib.Path,
    notes: list[tuple[int, float, float]],
    pedal: list[tuple[float, int]] = [],  # noqa: B006
    *,
    is_drum: bool = False,
) -> pathlib.Path:
    midi = pretty_midi.PrettyMIDI(resolution=1000, initial_tempo=120)  # ticks of 0.5 ms
    instrument = pretty_midi.Instrument(program=5, is_drum=is_drum)
    instrument.notes = [pretty_midi.Note(90, pitch, start, end) for pitch, start, end in notes]
    instrument.control_changes = [pretty_midi.ControlChange(64, v, t) for t, v in pedal]
    midi.instruments.append(instrument)
    midi.write(str(path))
    return path


def ends(path: pathlib.Path, *, sustain: bool = True) -> list[float]:
    clip = read_midi(path, sustain=sustain)
    return [round(float(end), 3) for end in clip.pitched.end_times]


def test_pedal_holds_a_note_until_its_release(tmp_path: pathlib.Path) -> None:
    path = write_midi(tmp_path / "a.mid", [(60, 0.0, 1.0)], [(0.5, 127), (2.0, 0)])
    assert ends(path) == [2.0]
    assert ends(path, sustain=False) == [1.0]


def test_pedal_holds_a_note_no_further_than_the_pitchs_next_onset(
    tmp_path: pathlib.Path,
) -> None:
    notes = [(60, 0.0, 1.0), (60, 1.5, 1.8)]
    assert ends(write_midi(tmp_path / "a.mid", notes, [(0.5, 127), (3.0, 0)])) == [1.5, 3.0]


def test_pedal_never_released_holds_to_the_last_offset(tmp_path: pathlib.Path) -> None:
    notes = [(60, 0.0, 1.0), (64, 2.0, 4.0)]
    assert ends(write_midi(tmp_path / "a.mid", notes, [(0.5, 127)])) == [4.0, 4.0]


def test_pedal_below_half_is_up(tmp_path: pathlib.Path) -> None:
    path = write_midi(tmp_path / "a.mid", [(60, 0.0, 1.0)], [(0.5, 63), (2.0, 0)])
    assert ends(path) == [1.0]


def test_note_that_ends_as_the_pedal_is_released_is_not_held(tmp_path: pathlib.Path) -> None:
    path = write_midi(tmp_path / "a.mid", [(60, 0.0, 1.0)], [(0.5, 127), (1.0, 0), (1.2, 127)])
    assert ends(path) == [1.0]


def test_drums_are_read_apart_and_without_pedal(tmp_path: pathlib.Path) -> None:
    path = write_midi(tmp_path / "a.mid", [(36, 0.0, 0.1)], [(0.05, 127)], is_drum=True)
    clip = read_midi(path, sustain=True)
    assert len(clip.pitched) == 0
    assert clip.drums.end_times.tolist() == [0.1]


@pytest.mark.parametrize("content", [b"", b"not midi", b"MThd\x00\x00\x00\x06\x00\x01"])
def test_broken_file_is_rejected_by_name(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "broken.mid"
    path.write_bytes(content)
    with pytest.raises(MT3Error, match=r"broken\.mid cannot be read as MIDI"):
        read_midi(path, sustain=True)


def test_manifest_lists_kinds_and_metrics(tmp_path: pathlib.Path) -> None:
    entries = [
        {"midi": "a.mid", "kind": "real", "eval": ["onset"]},
        {"midi": "b.mid"},
        {"file": "without-midi.ogg"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    manifest = read_manifest(tmp_path)
    assert sorted(manifest) == ["a", "b"]
    assert (manifest["a"].kind, manifest["a"].metrics) == ("real", frozenset({"onset"}))
    assert (manifest["b"].kind, manifest["b"].metrics) == ("", None)


@pytest.mark.parametrize("content", ["{", '["a"]', "3", '[{"midi": 3}]'])
def test_broken_manifest_is_rejected(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(OptionError, match="is not a manifest"):
        read_manifest(tmp_path)


def test_folder_without_manifest_limits_nothing(tmp_path: pathlib.Path) -> None:
    assert read_manifest(tmp_path) == {}


def test_references_are_the_midi_files_by_name(tmp_path: pathlib.Path) -> None:
    for name in ("b.MID", "a.midi", "c.ogg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_references(tmp_path)] == ["a.midi", "b.MID"]


def test_folder_that_is_none_is_rejected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="is not a folder") as refusal:
        list_references(tmp_path / "nowhere")
    assert refusal.value.parameter == "reference"


def test_folder_without_midi_is_rejected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match=r"holds no \.mid"):
        list_references(tmp_path)


def test_estimate_may_have_either_suffix(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.midi").touch()
    assert find_estimate(tmp_path, "a") == tmp_path / "a.midi"
    assert find_estimate(tmp_path, "b") is None
