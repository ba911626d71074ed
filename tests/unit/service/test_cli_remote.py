"""`mt3 transcribe --server`: requests, outputs, messages and exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading

import pytest

from service.cli import main
from tests.unit.service.client.bare_installation import run_bare
from tests.unit.service.client.documents import TRANSCRIPTION, WARNING
from tests.unit.service.client.job_server import JobServer
from tests.unit.service.client.wire import answer, json_answer, problem, wire

READY = json_answer({"state": "ready"})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.delenv("MT3_API_KEY", raising=False)
    monkeypatch.setattr("random.random", lambda: 0.001)


def serving(*, refuse=None, body=b"MThd"):
    """Return the script of a ready server; ``refuse`` maps a recording's bytes to a response."""

    def script(request):
        if request.path == "/ready":
            return [READY]
        return [(refuse or {}).get(request.body) or answer(body=body)]

    return script


def write(folder, **contents):
    for name, content in contents.items():
        (folder / f"{name}.wav").write_bytes(content)
    return [folder / f"{name}.wav" for name in contents]


def run(url, *arguments):
    return main(["transcribe", *map(str, arguments), "--server", url])


def test_results_are_named_as_on_this_machine(tmp_path):
    write(tmp_path, a=b"a")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write(tmp_path / "in" / "sub", b=b"b")
    with wire(serving()) as (url, requests):
        assert run(url, tmp_path / "a.wav", "-o", tmp_path / "x.mid") == 0
        assert run(url, tmp_path / "in", "-o", tmp_path / "out", "--format", "piano_roll") == 0
    assert (tmp_path / "x.mid").read_bytes() == b"MThd"
    out = tmp_path / "out"
    assert [str(p.relative_to(out)) for p in out.rglob("*.*")] == ["sub/b.png"]
    sent = [r for r in requests if r.method == "POST"]
    assert [r.body for r in sent] == [b"a", b"b"]
    assert [r.query["response_format"] for r in sent] == ["midi", "piano_roll"]


def test_options_reach_the_server(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    (tmp_path / "key").write_text("mt3-key\n")
    with wire(serving()) as (url, requests):
        code = run(
            url, path, "-o", tmp_path / "x.mid", "--decoding", "reference", "--precision",
            "float32", "--start", "1", "--end", "2.5", "--model", "ismir2021",
            "--api-key-file", tmp_path / "key", "--audio-track", "2", "--instruments", "Piano",
        )  # fmt: skip
    assert code == 0
    assert requests[-1].query == {
        "model": "ismir2021", "decoding": "reference", "precision": "float32", "start": "1.0",
        "end": "2.5", "audio_track": "2", "instruments": "Piano", "response_format": "midi",
    }  # fmt: skip
    assert requests[-1].headers["authorization"] == "Bearer mt3-key"


def test_what_is_not_asked_for_is_left_to_the_server(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    with wire(serving()) as (url, requests):
        run(url, path, "-o", tmp_path / "x.mid")
    assert requests[-1].query == {"decoding": "greedy", "response_format": "midi"}


def test_failed_inputs_are_named_and_the_others_done(tmp_path, capsys):
    paths = write(tmp_path, a=b"a", bad=b"bad", c=b"c", empty=b"")
    bad = {b"bad": problem(400, "audio_undecodable")}
    with wire(serving(refuse=bad)) as (url, _):
        code = run(url, *paths, tmp_path / "none.wav", "-o", tmp_path / "out")
    assert code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mid", "c.mid"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert any("bad.wav: a detail (audio_undecodable)" in line for line in lines)
    assert f"mt3: {tmp_path / 'none.wav'}: No such file or directory" in lines
    assert f"mt3: {tmp_path / 'empty.wav'}: the file is empty" in lines
    assert lines[-1] == "mt3: 2 written, 3 failed"


@pytest.mark.parametrize(("jobs", "most"), [(None, 4), (2, 2)])
def test_so_many_are_in_flight_at_a_time(tmp_path, jobs, most):
    paths = write(tmp_path, **{f"n{n}": bytes([n]) for n in range(9)})
    lock, now, seen, full = threading.Lock(), [0], [], threading.Event()

    def script(request):
        if request.path == "/ready":
            return [READY]
        with lock:
            now[0] += 1
            seen.append(now[0])
            if now[0] == most:
                full.set()
        assert full.wait(60)
        with lock:
            now[0] -= 1
        return [answer(body=b"MThd")]

    with wire(script) as (url, _):
        options = [] if jobs is None else ["--jobs", jobs]
        assert run(url, *paths, "-o", tmp_path / "out", *options) == 0
    assert max(seen) == most
    assert len(seen) == 9


def test_an_option_that_the_server_refuses_is_wrong_usage_and_ends_all(tmp_path, capsys):
    paths = write(tmp_path, **{f"n{n}": b"x" for n in range(20)})
    refused = {b"x": problem(422, "invalid_option", param="end")}
    with wire(serving(refuse=refused)) as (url, requests):
        assert run(url, *paths, "-o", tmp_path / "out") == 2
    assert capsys.readouterr().err == "mt3: a detail\n"
    assert len(requests) < 10


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_ends_all_at_once(tmp_path, capsys, status):
    paths = write(tmp_path, **{f"n{n}": b"x" for n in range(20)})
    refused = {b"x": problem(status, "no")}
    with wire(serving(refuse=refused)) as (url, requests):
        assert run(url, *paths, "-o", tmp_path / "out") == 1
    assert capsys.readouterr().err == "mt3: a detail (no)\n"
    assert len(requests) < 10


def test_a_server_that_is_not_there_is_said_at_once(tmp_path, capsys):
    paths = write(tmp_path, a=b"a", b=b"b")
    with wire(serving()) as (url, _):
        pass
    assert run(url, *paths, "-o", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mt3: no answer from 127.0.0.1:")


def test_a_server_that_loads_is_waited_for(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    states = iter([problem(503, "not_ready", state="loading", Retry_After=0)] * 3)

    def script(request):
        return [next(states, READY)] if request.path == "/ready" else [answer(body=b"MThd")]

    with wire(script) as (url, requests):
        assert run(url, path, "-o", tmp_path / "x.mid") == 0
    assert [r.path for r in requests].count("/ready") == 4


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_warnings_are_told(tmp_path, capsys, form):
    (path,) = write(tmp_path, a=b"a")
    body = json.dumps(TRANSCRIPTION).encode() + (b'\n{"object": "note"}\n' * (form == "jsonl"))
    with wire(serving(body=body)) as (url, _):
        assert run(url, path, "-o", tmp_path / f"x.{form}") == 0
    assert (tmp_path / f"x.{form}").read_bytes() == body
    assert capsys.readouterr().err == f"mt3: {path}: warning: cut – short\n"


def test_warnings_of_other_formats_are_read_from_the_headers(tmp_path, capsys):
    (path,) = write(tmp_path, a=b"a")
    headers = {
        "Transcription_Warnings": "tempo_uncertain, no_notes",
        "Transcription_Warning_Details": json.dumps(
            [{**WARNING, "code": "tempo_uncertain", "message": "unsure: set another with tempo="}]
        ),
    }
    found = {b"a": answer(body=b"MThd", **headers)}
    with wire(serving(refuse=found)) as (url, _):
        assert run(url, path, "-o", tmp_path / "x.mid") == 0
    assert capsys.readouterr().err == (
        f"mt3: {path}: warning: unsure: set another with --tempo\nmt3: {path}: warning: no_notes\n"
    )


def test_warnings_of_several_formats_are_shown_once(tmp_path, capsys):
    (path,) = write(tmp_path, a=b"a")
    jobs = JobServer("a.wav")
    jobs.items[0]["warnings"] = [WARNING]
    with wire(lambda request: [READY] if request.path == "/ready" else jobs(request)) as (url, _):
        assert run(url, path, "-o", tmp_path / "out", "--format", "midi,musicxml") == 0
    assert capsys.readouterr().err == f"mt3: {path}: warning: cut – short\n"

    def without_jobs(request):
        if request.path == "/ready":
            return [READY]
        if request.path == "/v1/jobs":
            return [problem(404, "jobs_disabled")]
        return [answer(body=b"x", Transcription_Warnings="no_notes")]

    with wire(without_jobs) as (url, _):
        assert run(url, path, "-o", tmp_path / "more", "--format", "midi,musicxml") == 0
    assert capsys.readouterr().err == f"mt3: {path}: warning: no_notes\n"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"warnings": [{}]}', b'{"warnings": 1}'])
def test_an_answer_that_is_no_transcription_fails_its_file(tmp_path, capsys, body):
    (path,) = write(tmp_path, a=b"a")
    with wire(serving(body=body)) as (url, _):
        assert run(url, path, "-o", tmp_path / "x.json", "--format", "json") == 1
    assert "the answer is not a transcription" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "0"], "--jobs is 0; expected 1 to 256"),
        (["--checkpoint", "x"], "--checkpoint is for this machine"),
        (["--api-key-file", "none"], "none: "),
        (["--api-key-file", "empty"], "empty is empty; expected a key"),
        (["--api-key-file", "two"], "the API key contains a character that no key has"),
    ],
)
def test_wrong_usage(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("a\nb\n")
    write(tmp_path, a=b"a")
    with wire(serving()) as (url, requests):
        assert run(url, "a.wav", "-o", "x.mid", *arguments) == 2
    assert said in capsys.readouterr().err
    assert requests == []


def test_an_address_that_is_none_is_wrong_usage(tmp_path, capsys):
    (path,) = write(tmp_path, a=b"a")
    assert run("localhost:8000", path, "-o", tmp_path / "x.mid") == 2
    assert "expected http:// or https://" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--jobs", "2"], ["--api-key-file", "x"]])
def test_options_of_a_server_need_one(tmp_path, capsys, option):
    (path,) = write(tmp_path, a=b"a")
    assert main(["transcribe", str(path), "-o", str(tmp_path / "x.mid"), *option]) == 2
    assert f"{option[0]} needs --server" in capsys.readouterr().err


def test_nothing_heavy_is_imported_on_the_way_to_a_server(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    with wire(serving()) as (url, _):
        run_bare("transcribe", path, "-o", tmp_path / "x.mid", "--server", url)
    assert (tmp_path / "x.mid").read_bytes() == b"MThd"


def started(url, path, target, **streams):
    # A shell that runs the tests in the background has it ignore interrupts, and so its children.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "service.cli"]
    program += ["transcribe", path, "-o", target]
    return subprocess.Popen([*map(str, program), "--server", url], **streams)


@pytest.mark.slow
def test_a_progress_bar_on_a_terminal_and_none_in_a_pipe(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    with wire(serving()) as (url, _):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        with started(url, path, tmp_path / "x.mid", stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            try:
                while piece := os.read(ours, 4_096):
                    shown += piece
            except OSError:  # Linux's way to say that the terminal's other end is closed
                pass
            os.close(ours)
        assert process.returncode == 0
        assert b"1/1" in shown
        with started(url, path, tmp_path / "y.mid", stderr=subprocess.PIPE) as process:
            assert process.stderr.read() == b""


def test_an_interrupt_ends_it_at_once(tmp_path):
    (path,) = write(tmp_path, a=b"a")
    asked, ended = threading.Event(), threading.Event()

    def script(request):
        if request.path != "/ready":
            asked.set()
            ended.wait(120)
        return [READY]

    with (
        wire(script) as (url, _),
        started(url, path, tmp_path / "x.mid", stderr=subprocess.PIPE) as process,
    ):
        assert asked.wait(120)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130  # though no answer has come
        assert process.stderr.read() == b""
        ended.set()
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
