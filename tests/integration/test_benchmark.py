"""`mt3 benchmark` from its arguments to its results, over the fake backend."""

import json
import re
import subprocess
import sys

import pytest

from service import cli
from tests.integration.serving import recording


@pytest.fixture(autouse=True)
def fake_backend(monkeypatch):
    monkeypatch.setenv("MT3_BACKEND", "fake")


def benchmark(*arguments):
    return cli.main(["benchmark", *map(str, arguments)])


def test_a_benchmark_without_arguments_but_short_measures_the_synthesized_piece(tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert benchmark("--seconds", 3, "--concurrency", "1,3", "--rounds", 2, "--json", out) == 0
    captured = capsys.readouterr()
    assert "measured: 1, 3 callers at once, 2 rounds, each with 3 s of synthesized piece" in (
        captured.out
    )
    assert re.search(r"^3 +\d", captured.out, re.MULTILINE)
    assert captured.err == ""  # no bar in a pipe
    content = json.loads(out.read_text())
    assert [row["callers"] for row in content["concurrency"]] == [1, 3]
    assert [row["transcriptions"] for row in content["concurrency"]] == [2, 6]
    # Three seconds are two segments of ten tokens each.
    assert [row["tokens"] for row in content["concurrency"]] == [40, 120]
    assert [row["audio_seconds"] for row in content["concurrency"]] == pytest.approx([6, 18])
    assert [stage["name"] for stage in content["stages"]] == ["decode", "notes", "export"]
    assert content["format"] == 2
    assert "limits" not in content  # since format 2: `python -m tests.benchmarks.limits`
    assert content["setting"]["slots"] == 16


def test_own_recordings_and_slots_are_used(tmp_path, capsys):
    (tmp_path / "mine.flac").write_bytes(recording(0.5, container="FLAC"))
    out = tmp_path / "figures.json"
    assert (
        benchmark(
            tmp_path / "mine.flac", "--seconds", 2, "--concurrency", 2, "--slots", 3, "--json", out
        )
        == 0
    )
    content = json.loads(out.read_text())
    assert content["setting"]["recordings"] == ["mine.flac"]
    assert content["setting"]["slots"] == 3
    assert content["concurrency"][0]["audio_seconds"] == pytest.approx(4.0)
    assert "2 s of mine.flac" in capsys.readouterr().out


def test_an_unreadable_recording_ends_with_1_and_says_why(tmp_path, capsys):
    (tmp_path / "bad.mp3").write_text("no music in here")
    assert benchmark(tmp_path / "bad.mp3") == 1
    assert "mt3: " in capsys.readouterr().err


def test_a_recording_that_is_not_there_ends_with_1(tmp_path, capsys):
    assert benchmark(tmp_path / "none.wav") == 1
    assert "none.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "0"],
        ["--rounds", "0"],
        ["--concurrency", "a"],
        ["--slots", "0"],
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_measured(arguments, capsys):
    assert benchmark(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "mt3: " in captured.err


def test_the_fake_backend_needs_no_jax():
    program = (
        "import sys\n"
        "from service import cli\n"
        "assert cli.main(['benchmark', '--seconds', '1', '--concurrency', '1']) == 0\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
