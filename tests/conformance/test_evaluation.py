"""Our evaluation equals an independent script: every score of every clip, to the last bits.

The script stands beside the dev references; it is run as a program on these references and on
perturbed copies of them, and our report of the same folders must say the same.
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys

import pretty_midi
import pytest

from mt3_model.evaluation.report import evaluate_folders

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def references(
    shared_folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The dev references with a manifest that limits metrics and has two kinds of recordings."""
    folder = tmp_path_factory.mktemp("references")
    source = shared_folder / "eval" / "dev"
    for path in source.glob("*.mid"):
        shutil.copy(path, folder)
    manifest = json.loads((source / "manifest.json").read_text())
    for index, entry in enumerate(manifest):
        entry["kind"] = "real" if index % 2 else "synth"
    manifest[0]["eval"] = ["onset", "frame"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def estimates(references: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """References with notes shifted, dropped, added and re-programmed, and one more or less."""
    folder = tmp_path_factory.mktemp("estimates")
    chance = random.Random(7)
    paths = sorted(references.glob("*.mid"))
    for path in paths[1:-1]:
        midi = pretty_midi.PrettyMIDI(str(path))
        for instrument in midi.instruments:
            _perturb(instrument, chance)
        midi.write(str(folder / path.name))
    (folder / paths[-1].name).write_bytes(b"not midi")
    return folder


@pytest.fixture(scope="module")
def folders(references: pathlib.Path, estimates: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return references, estimates


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"sustain": False}, ["--no-sustain"]),
        ({"frame_threshold": 30}, ["--frame-threshold", "30"]),
        ({"missing_as_empty": True}, ["--missing-zero"]),
    ],
    ids=["defaults", "without pedal", "frame threshold", "missing as empty"],
)
def test_every_number_agrees_with_the_script(
    folders: tuple[pathlib.Path, pathlib.Path],
    shared_folder: pathlib.Path,
    tmp_path: pathlib.Path,
    options: dict[str, bool | int],
    arguments: list[str],
) -> None:
    references, estimates = folders
    script = shared_folder / "eval" / "evaluate.py"
    expected_path = tmp_path / "expected.json"
    command = [sys.executable, script, references, estimates, "--json", expected_path, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 1, finished.stderr  # one estimate cannot be read
    expected = json.loads(expected_path.read_text())

    ours = json.loads(evaluate_folders(references, estimates, **options).to_json())

    for section in ("continuity", "velocity", "beats"):  # ours alone
        ours.pop(section, None)
    assert set(ours.pop("failed")) == set(expected.pop("failed"))  # the reasons are worded apart
    # Counts are equal, so the shares are; 1e-9 leaves room for the last bits of a division.
    assert _flat(ours) == {
        key: pytest.approx(value, abs=1e-9, rel=0) if isinstance(value, float) else value
        for key, value in _flat(expected).items()
    }
    assert 0 < ours["mean"]["full"] < 1


def _perturb(instrument: pretty_midi.Instrument, chance: random.Random) -> None:
    kept = []
    for note in instrument.notes:
        if chance.random() < 0.2:
            continue
        shift = chance.uniform(-0.08, 0.08)
        note.start = max(0.0, note.start + shift)
        note.end = max(note.start + 0.01, note.end + shift + chance.uniform(-0.3, 0.3))
        if chance.random() < 0.1:
            note.pitch = min(127, note.pitch + chance.choice((1, 12)))
        kept.append(note)
    instrument.notes = kept
    if chance.random() < 0.4:
        instrument.program = (instrument.program + chance.choice((1, 8))) % 128


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, object] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}/{key}")
    return flat
