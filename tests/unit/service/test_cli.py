"""`mt3`: inputs, outputs and exit codes."""

import dataclasses
import os
import subprocess
import sys

import mido
import pytest

from mt3_model.errors import AudioFormatError, AudioTrackError, CheckpointNotFoundError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import (
    TranscriptionWarning,
)
from service.cli import main
from service.commands.result_plan import FORMAT_SUFFIXES
from tests.unit.service.fake_transcriber import FakeTranscriber, touch
from tests.unit.service.transcriptions import TRANSCRIPTION


@pytest.fixture
def fake():
    return FakeTranscriber()


def run(fake, *arguments):
    return main([*map(str, arguments)], load=lambda _: fake)


def test_formats_and_suffixes_are_those_that_can_be_written():
    assert {form.value: form.suffix for form in ExportFormat} == FORMAT_SUFFIXES


def test_one_file_goes_to_the_name_given(tmp_path, fake):
    touch(tmp_path, "a.wav")
    assert run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid") == 0
    assert mido.MidiFile(tmp_path / "b.mid").tracks[1].name == "Acoustic Grand Piano"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.mid"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.mid", b"MThd"), ("x.MID", b"MThd"), ("x", b"MThd"), ("x.json", b'{"id"'),
        ("x.png", b"\x89PNG"), ("x.notesequence.json", b'{"ticksPer'), ("x.jsonl", b'{"id"'),
        ("x.musicxml", b"<?xml"),
    ],
)  # fmt: skip
def test_the_suffix_says_the_form(tmp_path, fake, name, start):
    touch(tmp_path, "a.wav")
    assert run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / name) == 0
    assert (tmp_path / name).read_bytes().startswith(start)


def test_options_reach_the_transcription(tmp_path, fake):
    touch(tmp_path, "a.wav")
    code = run(
        fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b", "--format", "json",
        "--decoding", "reference", "--start", "1", "--end", "2.5", "--audio-track", "2",
    )  # fmt: skip
    assert code == 0
    ((_, options),) = fake.asked
    assert (options.decoding, options.start, options.end) == ("reference", 1.0, 2.5)
    assert options.audio_track == 2


def test_a_track_that_one_recording_does_not_have_fails_it_alone(tmp_path, fake, capsys):
    touch(tmp_path / "in", "bad.wav", "b.wav")
    fake.error = AudioTrackError("audio_track is 2, but the recording has one audio track")
    arguments = ["transcribe", tmp_path / "in", "-o", tmp_path / "out", "--audio-track", "2"]
    assert run(fake, *arguments) == 1
    assert "has one audio track" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.mid"]


def test_a_folder_is_searched_and_its_shape_kept(tmp_path, fake):
    touch(tmp_path / "in", "a.wav", "sub/b.MP3", "sub/notes.txt")
    out = tmp_path / "out"
    assert run(fake, "transcribe", tmp_path / "in", "-o", out) == 0
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.mid")) == ["a.mid", "sub/b.mid"]


def test_a_quoted_glob_is_expanded(tmp_path, fake):
    touch(tmp_path, "a.wav", "b.wav", "c.txt")
    assert run(fake, "transcribe", tmp_path / "*.wav", "-o", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mid", "b.mid"]


def test_a_glob_without_a_match_is_wrong_usage(tmp_path, fake):
    assert run(fake, "transcribe", tmp_path / "*.wav", "-o", tmp_path / "out") == 2


def test_a_file_that_is_not_there_fails_like_any_other(tmp_path, capsys):
    class Opening(FakeTranscriber):
        def transcribe(self, *_, **__):
            raise AudioFormatError("the file cannot be opened")

    assert run(Opening(), "transcribe", tmp_path / "none.wav", "-o", tmp_path / "x.mid") == 1
    assert "none.wav: the file cannot be opened" in capsys.readouterr().err


def test_an_end_before_the_start_is_wrong_usage(tmp_path, fake):
    touch(tmp_path, "a.wav")
    arguments = ["transcribe", tmp_path / "a.wav", "-o", tmp_path / "b", "--start", "3"]
    assert run(fake, *arguments, "--end", "1") == 2
    assert fake.asked == []


def test_limits_come_from_the_settings(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("MT3_MAX_AUDIO_SECONDS", "100000")
    touch(tmp_path, "a.wav")
    assert run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid") == 0
    assert fake.limits.max_seconds == 100_000


def test_one_bad_input_is_named_and_the_others_are_done(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav", "bad.wav", "c.wav")
    inputs = [tmp_path / f"{name}.wav" for name in ("a", "bad", "c")]
    assert run(fake, "transcribe", *inputs, "-o", tmp_path / "out") == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mid", "c.mid"]
    assert "bad.wav: not audio" in capsys.readouterr().err


def test_warnings_are_told(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav")
    warned = dataclasses.replace(
        TRANSCRIPTION, warnings=(TranscriptionWarning(code="c", message="cut short"),)
    )
    fake.transcribe = lambda *_, **__: warned
    assert run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid") == 0
    assert "a.wav: warning: cut short" in capsys.readouterr().err


def test_no_progress_bar_in_a_pipe(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav")
    run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid")
    assert capsys.readouterr() == ("", "")


def test_a_progress_bar_on_a_terminal(tmp_path, fake, capsys, monkeypatch):
    touch(tmp_path, "a.wav")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid")
    assert "[1/1] a.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["transcribe"],
        ["transcribe", "a.wav"],
        ["transcribe", "a.wav", "-o", "b", "--format", "mp3"],
        ["transcribe", "a.wav", "-o", "b", "--start", "soon"],
        ["transcribe", "a.wav", "-o", "b", "--audio-track", "0"],
        ["transcribe", "a.wav", "-o", "b", "--instruments", "kazoo"],
        ["transcribe", "a.wav", "-o", "b", "--instruments", ","],
        ["serve", "--port", "http"],
    ],
)
def test_wrong_usage_ends_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_an_unknown_instrument_is_shown_with_the_nearest_names(capsys):
    with pytest.raises(SystemExit):
        main(["transcribe", "a.wav", "-o", "b", "--instruments", "piano,violn"])
    shown = " ".join(capsys.readouterr().err.split())
    assert "'violn': expected General MIDI program numbers" in shown
    assert "did you mean Violin" in shown


def test_instruments_may_be_repeated_and_listed(tmp_path, fake):
    touch(tmp_path, "a.wav")
    code = run(
        fake, "transcribe", tmp_path / "a.wav", "-o", tmp_path / "b.mid",
        "--instruments", "piano,33", "--instruments", "drums",
    )  # fmt: skip
    assert code == 0
    assert fake.asked[-1][1].instruments == ("piano", "33", "drums")


def test_a_folder_without_audio_is_wrong_usage(tmp_path, fake, capsys):
    assert run(fake, "transcribe", tmp_path, "-o", tmp_path / "out") == 2
    assert "no audio file" in capsys.readouterr().err


def test_a_file_where_a_folder_is_needed_is_wrong_usage(tmp_path, fake):
    touch(tmp_path, "a.wav", "b.wav", "out")
    inputs = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert run(fake, "transcribe", *inputs, "-o", tmp_path / "out") == 2


def test_two_inputs_with_one_result_are_wrong_usage(tmp_path, fake):
    touch(tmp_path, "1/a.wav", "2/a.wav")
    inputs = [tmp_path / "1/a.wav", tmp_path / "2/a.wav"]
    assert run(fake, "transcribe", *inputs, "-o", tmp_path / "out") == 2


def test_a_model_that_cannot_be_had_ends_with_1_and_says_why(tmp_path, capsys):
    def load(settings):
        raise CheckpointNotFoundError("No checkpoint of 'mt3' at: ...")

    touch(tmp_path, "a.wav")
    arguments = ["transcribe", str(tmp_path / "a.wav"), "-o", str(tmp_path / "b.mid")]
    assert main(arguments, load=load) == 1
    assert "No checkpoint" in capsys.readouterr().err


def test_a_setting_that_makes_no_sense_is_wrong_usage(monkeypatch, capsys):
    monkeypatch.setenv("MT3_LOG_LEVEL", "loud")
    assert main(["serve"]) == 2
    assert "MT3_LOG_LEVEL" in capsys.readouterr().err


def test_an_unknown_model_is_wrong_usage(capsys):
    assert main(["serve", "--model", "mt4"]) == 2
    assert "ismir2021" in capsys.readouterr().err


def test_download_is_refused_offline(monkeypatch, capsys):
    monkeypatch.setenv("MT3_OFFLINE", "1")
    assert main(["download"]) == 1
    assert "MT3_OFFLINE" in capsys.readouterr().err


def test_models_lists_the_published_ones(capsys):
    assert main(["models"]) == 0
    assert "ismir2022_base" in capsys.readouterr().out


@pytest.mark.slow
def test_a_server_starts_without_what_only_jobs_accelerators_and_exports_need():
    program = (
        "import sys\n"
        "from service.commands import serve\n"
        "from service.api import app\n"
        "from service.settings import Settings\n"
        "app.create_app(Settings(backend='fake', jobs=False))\n"
        "heavy = {'jax', 'numba', 'sqlalchemy', 'dbos', 'psycopg', 'PIL', 'mido'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from mt3_model import transcribe\n"
        "from mt3_model.cpu import kernel_pool\n"
        "heavy = {'flax', 'librosa', 'matplotlib', 'note_seq', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from service import cli\n"
        "cli.build_parser().format_help()\n"
        "heavy = {'jax', 'matplotlib', 'fastapi', 'pydantic', 'google.protobuf'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("command", [["evaluate", "in", "in"], ["benchmark", "--rounds", "1"]])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path, capsys, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    assert main([*command, "--json", "in"]) == 1
    assert capsys.readouterr() == ("", "mt3: in: is a folder; expected the name of a file\n")


def test_a_checkpoint_replaces_no_pipe_or_device(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["convert", str(pipe)]) == 1
    assert "is a pipe or device" in capsys.readouterr().err
    assert pipe.is_fifo()
