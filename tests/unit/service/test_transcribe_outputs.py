"""`mt3 transcribe`: outputs, existing files, and messages."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from tests.unit.service.fake_transcriber import FakeTranscriber, names_in, run, touch


@pytest.fixture
def fake():
    return FakeTranscriber()


# --- what is there -------------------------------------------------------------------------------


def test_what_is_there_is_skipped_and_the_rest_done(tmp_path, fake, capsys):
    touch(tmp_path / "in", *(f"{n}.wav" for n in range(5)), "bad.wav")
    out = tmp_path / "out"
    out.mkdir()
    for n in (0, 3):
        (out / f"{n}.mid").write_text("older")
    assert run(fake, tmp_path / "in", "-o", out) == 1
    assert fake.names == ["1.wav", "2.wav", "4.wav", "bad.wav"]
    assert (out / "3.mid").read_text() == "older"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("mt3: 2 already exist, 4 to do")
    assert lines[-1] == "mt3: 3 written, 1 failed, 2 skipped"


def test_overwrite_does_all_again(tmp_path, fake, capsys):
    touch(tmp_path / "in", "a.wav", "b.wav")
    for _ in range(2):
        assert run(fake, tmp_path / "in", "-o", tmp_path / "out", "--overwrite") == 0
    assert fake.names == ["a.wav", "b.wav"] * 2
    assert "there" not in capsys.readouterr().err


def test_where_all_is_there_no_model_is_loaded(tmp_path, fake, capsys):
    touch(tmp_path / "in", "a.wav", "b.wav")
    assert run(fake, tmp_path / "in", "-o", tmp_path / "out") == 0
    capsys.readouterr()
    assert run(None, tmp_path / "in", "-o", tmp_path / "out") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "mt3: 0 written, 2 skipped"


def test_one_file_that_is_there_is_left_and_named(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav")
    (tmp_path / "a.mid").write_text("older")
    assert run(fake, tmp_path / "a.wav", "-o", tmp_path / "a.mid") == 0
    assert (tmp_path / "a.mid").read_text() == "older"
    assert "a.mid already exists (--overwrite writes it again)" in capsys.readouterr().err


def test_an_empty_or_half_written_file_is_not_there(tmp_path, fake):
    touch(tmp_path, "a.wav", "out/a.mid", "out/.mt3-0123456789ab.partial")
    assert run(fake, tmp_path / "a.wav", "-o", tmp_path / "out/") == 0
    assert (tmp_path / "out/a.mid").read_bytes().startswith(b"MThd")


def test_of_several_formats_only_the_missing_one_is_written(tmp_path, fake):
    touch(tmp_path, "a.wav")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.mid").write_text("older")
    assert run(fake, tmp_path / "a.wav", "-o", out, "--format", "midi,json") == 0
    assert (out / "a.mid").read_text() == "older"
    assert (out / "a.json").read_bytes().startswith(b'{"id"')


def test_an_interruption_leaves_no_half_file_and_says_what_is_done(tmp_path, capsys):
    class Interrupted(FakeTranscriber):
        def transcribe(self, recording, *arguments, **options):
            if recording.name == "b.wav":
                raise KeyboardInterrupt
            return super().transcribe(recording, *arguments, **options)

    touch(tmp_path / "in", "a.wav", "b.wav", "c.wav")
    assert run(Interrupted(), tmp_path / "in", "-o", tmp_path / "out") == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mid"]
    assert capsys.readouterr().err.splitlines()[-1] == "mt3: 1 written, 2 not done"


def test_a_terminal_shows_the_loading_one_bar_and_the_summary(tmp_path, fake, capsys, monkeypatch):
    (tmp_path / "in").mkdir()
    for name, size in (("a", 100), ("b", 300)):
        (tmp_path / "in" / f"{name}.wav").write_bytes(bytes(size))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(fake, tmp_path / "in", "-o", tmp_path / "out") == 0
    shown = capsys.readouterr().err
    assert shown.startswith("mt3: loading mt3 ...\n")
    assert "[1/2] a.wav   0%" in shown
    assert "[2/2] b.wav  25%" in shown
    assert "[2/2] b.wav 100%" in shown
    assert shown.count("\n") == 3  # the loading, the bar, the summary
    assert shown.endswith("mt3: 2 written\n")


# --- names and formats ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["x.mxl", "x.xyz", "x.mp3", "x.7z", "x.midl", "x.mid.bak", "x.MXL"]
)
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, fake, capsys, name):
    touch(tmp_path, "a.wav")
    for more in ([], ["--format", "midi"]):
        assert run(fake, tmp_path / "a.wav", "-o", tmp_path / name, *more) == 2
        error = capsys.readouterr().err
        for known in (".mid", ".json", ".jsonl", ".pb", ".notesequence.json", ".png", ".musicxml"):
            assert known in error
    assert fake.asked == []


@pytest.mark.parametrize("name", ["x", "No. 5", "take.2", "Op. 27 No. 2", "x.midi", ".hidden/x"])
def test_a_name_without_a_suffix_is_midi(tmp_path, fake, name):
    touch(tmp_path, "a.wav")
    assert run(fake, tmp_path / "a.wav", "-o", tmp_path / name) == 0
    assert (tmp_path / name).read_bytes().startswith(b"MThd")


@pytest.mark.parametrize(
    ("name", "form"),
    [("x.mid", "json"), ("x.json", "midi"), ("x.notesequence.json", "json"), ("x.png", "jsonl")],
)
def test_a_suffix_that_contradicts_the_format_is_refused(tmp_path, fake, capsys, name, form):
    touch(tmp_path, "a.wav")
    assert run(fake, tmp_path / "a.wav", "-o", tmp_path / name, "--format", form) == 2
    assert "--format is" in capsys.readouterr().err
    assert fake.asked == []


def test_a_suffix_and_the_same_format_agree(tmp_path, fake):
    touch(tmp_path, "a.wav")
    for name, form in (("x.mid", "midi"), ("x.json", "notesequence_json"), ("x.png", "png")):
        assert run(fake, tmp_path / "a.wav", "-o", tmp_path / name, "--format", form) == 0


@pytest.mark.parametrize("given", [["midi,png"], ["midi", "png"], ["mid, PNG"], ["midi,png,midi"]])
def test_several_formats_in_one_pass(tmp_path, fake, given):
    touch(tmp_path, "a.wav", "b.wav")
    options = [part for form in given for part in ("--format", form)]
    inputs = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert run(fake, *inputs, "-o", tmp_path / "out", *options) == 0
    assert names_in(tmp_path / "out") == ["a.mid", "a.png", "b.mid", "b.png"]
    assert fake.names == ["a.wav", "b.wav"]


def test_several_formats_of_one_file_need_a_folder(tmp_path, fake):
    touch(tmp_path, "a.wav")
    arguments = [tmp_path / "a.wav", "--format", "midi,json", "-o"]
    assert run(fake, *arguments, tmp_path / "x.mid") == 2
    assert run(fake, *arguments, "-") == 2
    assert run(fake, *arguments, tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == ["a.json", "a.mid"]


@pytest.mark.parametrize("slash", [True, False])
def test_a_folder_there_or_with_a_slash_is_a_folder(tmp_path, fake, slash):
    touch(tmp_path, "a.wav")
    if not slash:
        (tmp_path / "dir.json").mkdir()
    assert run(fake, tmp_path / "a.wav", "-o", f"{tmp_path}/dir.json{'/' * slash}") == 0
    assert names_in(tmp_path / "dir.json") == ["a.mid"]


def test_a_file_with_a_slash_behind_it_is_wrong_usage(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav", "x.mid")
    assert run(fake, tmp_path / "a.wav", "-o", f"{tmp_path}/x.mid/") == 2
    assert "x.mid/ is or names a file" in capsys.readouterr().err


def test_several_inputs_need_a_folder_not_a_name_of_a_file(tmp_path, fake, capsys):
    touch(tmp_path, "a.wav", "b.wav")
    for name in ("song.mid", "song.png"):
        assert run(fake, tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / name) == 2
        assert f"{name} is or names a file; expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("inputs", "results"),
    [
        (["a.wav", "a.mp3"], ["a.mp3.mid", "a.wav.mid"]),
        (["a.wav", "A.mp3"], ["A.mp3.mid", "a.wav.mid"]),  # one file on some systems' disks
        (["a.wav", "b.mp3"], ["a.mid", "b.mid"]),
        (["a.b.wav", "a.c.wav"], ["a.b.mid", "a.c.mid"]),
    ],
)
def test_inputs_of_one_stem_keep_their_suffix(tmp_path, fake, inputs, results):
    touch(tmp_path, *inputs)
    paths = [tmp_path / name for name in inputs]
    assert run(fake, *paths, "-o", tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == results


def test_two_inputs_with_one_result_are_both_named(tmp_path, fake, capsys):
    touch(tmp_path, "1/a.wav", "2/a.wav")
    assert run(fake, tmp_path / "1", tmp_path / "2", "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "1/a.wav" in error
    assert "2/a.wav" in error
    assert fake.asked == []


@pytest.mark.parametrize("form", ["midi", "notesequence_json"])
@pytest.mark.parametrize("stem", ["x" * 240, "é" * 120, "x" * 251])
def test_long_names(tmp_path, fake, form, stem):
    touch(tmp_path / "in", f"{stem}.wav", f"{stem[:-1]}y.wav")
    assert run(fake, tmp_path / "in", "-o", tmp_path / "out", "--format", form) == 0
    results = list((tmp_path / "out").iterdir())
    assert len(results) == 2
    assert all(path.name.startswith(stem[:100]) for path in results)
    assert run(None, tmp_path / "in", "-o", tmp_path / "out", "--format", form) == 0


# --- the same file twice -------------------------------------------------------------------------


def test_the_same_file_twice_is_one(tmp_path, fake, monkeypatch):
    touch(tmp_path, "album/a.wav", "album/b.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "album/a.wav")
    (tmp_path / "folder").symlink_to(tmp_path / "album")
    monkeypatch.chdir(tmp_path)
    again = [tmp_path / "album/a.wav", "album/../album/a.wav", "link.wav", "folder", "./album"]
    assert run(fake, "album", *again, "-o", "out") == 0
    assert fake.names == ["a.wav", "b.wav"]
    assert names_in(tmp_path / "out") == ["a.mid", "b.mid"]


def test_one_file_named_twice_goes_to_the_name_given(tmp_path, fake, monkeypatch):
    touch(tmp_path, "a.wav")
    monkeypatch.chdir(tmp_path)
    assert run(fake, "a.wav", "./a.wav", "-o", "x.mid") == 0
    assert fake.names == ["a.wav"]
    assert Path("x.mid").is_file()


# --- standard input and output -------------------------------------------------------------------


class Standard:
    def __init__(self, content=b""):
        self.buffer = io.BytesIO(content)


def test_standard_input_and_output(fake, monkeypatch):
    content, seen = bytes(range(256)) * 3, []

    class Seeing(FakeTranscriber):
        def transcribe(self, recording, *arguments, **options):
            seen.append((recording, recording.read_bytes()))
            return super().transcribe(recording, *arguments, **options)

    out = Standard()
    monkeypatch.setattr(sys, "stdin", Standard(content))
    monkeypatch.setattr(sys, "stdout", out)
    assert run(Seeing(), "-", "-o", "-") == 0
    ((path, read),) = seen
    assert read == content
    assert not path.exists()
    assert out.buffer.getvalue().startswith(b"MThd")


def test_standard_input_to_a_folder_and_its_name_in_errors(tmp_path, fake, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Standard(b"x"))
    assert run(fake, "-", "-o", f"{tmp_path}/", "--format", "json") == 0
    assert names_in(tmp_path) == ["stdin.json"]

    def refuse(*_, **__):
        raise OSError("no sound")

    fake.transcribe = refuse
    monkeypatch.setattr(sys, "stdin", Standard(b"x"))
    assert run(fake, "-", "-o", tmp_path / "x.mid") == 1
    assert "mt3: standard input: no sound" in capsys.readouterr().err


def test_several_results_do_not_fit_standard_output(tmp_path, fake):
    touch(tmp_path, "a.wav", "b.wav")
    assert run(fake, tmp_path / "a.wav", tmp_path / "b.wav", "-o", "-") == 2
    assert run(fake, tmp_path, "-o", "-") == 2
    assert fake.asked == []


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path, fake):
    touch(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "pipe.mid")
    reading = os.open(tmp_path / "pipe.mid", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(fake, tmp_path / "a.wav", "-o", tmp_path / "pipe.mid") == 0
        assert os.read(reading, 4).startswith(b"MThd")
    finally:
        os.close(reading)
    assert (tmp_path / "pipe.mid").is_fifo()


def test_a_link_stays_a_link(tmp_path, fake):
    touch(tmp_path, "a.wav", "real/x.mid")
    (tmp_path / "x.mid").symlink_to("real/x.mid")
    assert run(fake, tmp_path / "a.wav", "-o", tmp_path / "x.mid") == 0
    assert (tmp_path / "x.mid").is_symlink()
    assert (tmp_path / "real/x.mid").read_bytes().startswith(b"MThd")


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0), ("90.5", 90.5), (".5", 0.5), ("1:30", 90.0), ("01:30.25", 90.25),
        ("1:02:03.5", 3_723.5), ("90:00", 5_400.0), ("0:00", 0.0),
    ],
)  # fmt: skip
def test_times_by_the_clock(tmp_path, fake, text, seconds):
    touch(tmp_path, "a.wav")
    assert (
        run(fake, tmp_path / "a.wav", "-o", tmp_path / "x.mid", "--start", text, "--end", 9e4) == 0
    )
    assert fake.asked[0][1].start == seconds


@pytest.mark.parametrize(
    "text",
    ["soon", "1:60", "1:60:00", "1:2:3:4", "1:-2", "1_0", "", "nan", "inf", "1:", ":30", "٣"],
)
def test_what_is_no_time_is_wrong_usage(tmp_path, fake, capsys, text):
    with pytest.raises(SystemExit) as caught:
        run(fake, tmp_path / "a.wav", "-o", tmp_path / "x.mid", f"--end={text}")
    assert caught.value.code == 2
    assert "argument --end: " in capsys.readouterr().err


# --- outputs at fault ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "out"], "out/a.mid: is a folder; expected the name of a file"),
        (["-o", "file/x.mid"], "file/x.mid: cannot be written: file is not a folder"),
        (["-o", "file/deep/x.mid"], "file/deep/x.mid: cannot be written: file is not a folder"),
    ],
)
def test_an_output_at_fault_is_named_before_the_model_is_loaded(
    tmp_path, capsys, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.wav", "file")
    (tmp_path / "out/a.mid").mkdir(parents=True)
    assert run(None, "a.wav", *arguments) == 1
    assert capsys.readouterr().err == f"mt3: {said}\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_ours_is_named(tmp_path, capsys):
    touch(tmp_path, "a.wav")
    (tmp_path / "out").mkdir(mode=0o500)
    assert run(None, tmp_path / "a.wav", "-o", f"{tmp_path}/out/") == 1
    assert "out/a.mid: cannot be written: no permission" in capsys.readouterr().err


def test_a_full_disk_names_the_output_and_the_others_are_done(tmp_path, fake, capsys, monkeypatch):
    touch(tmp_path, "a.wav", "b.wav")
    plain = os.fsync

    def fill(descriptor):
        if fake.names[-1] == "a.wav":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    assert run(fake, tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.mid"]
    reason = "cannot be written: No space left on device"
    assert capsys.readouterr().err.splitlines() == [
        "mt3: loading mt3 ...",
        f"mt3: {tmp_path}/out/a.mid: {reason} (the result of {tmp_path}/a.wav)",
        "mt3: 1 written, 1 failed",
    ]


def test_names_need_not_be_text(tmp_path, fake):
    name = os.fsdecode(b"n\xe4me")  # Latin-1, as in old archives
    touch(tmp_path / "in", f"{name}.wav", "ok.wav", f"{name * 60}.wav")
    assert run(fake, tmp_path / "in", "-o", tmp_path / "out") == 0
    written = [os.fsencode(path.name) for path in (tmp_path / "out").iterdir()]
    assert len(written) == 3
    assert {b"n\xe4me.mid", b"ok.mid"} < set(written)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.wav", "-o", ""], "output is empty"),
        (["", "-o", "out"], "an input is empty"),
        (["a.wav", "-o", "a" * 300 + ".mid"], "File name too long"),
    ],
)
def test_names_that_no_file_can_have_are_refused_in_a_sentence(
    tmp_path, capsys, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.wav")
    assert run(None, *arguments) in {1, 2}
    assert said in capsys.readouterr().err
