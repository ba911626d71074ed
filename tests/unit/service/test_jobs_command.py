"""`mt3 jobs`: submissions, waits, outputs, messages and exit codes."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from service.cli import main
from service.client import Job, JobItem
from service.client._json import read_document
from service.commands import job_submission
from service.commands.job_fetching import result_paths
from service.commands.job_progress import JobProgressLines, describe
from tests.unit.service.client.bare_installation import run_bare
from tests.unit.service.client.documents import WARNING
from tests.unit.service.client.job_server import (
    FAILED,
    JOB_ID,
    JobServer,
    item,
    job,
    parts,
    progress,
)
from tests.unit.service.client.wire import problem, wire


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.delenv("MT3_API_KEY", raising=False)
    monkeypatch.setattr("random.random", lambda: 0.001)


def run(url, action, *arguments):
    return main(["jobs", action, *map(str, arguments), "--server", url])


def folder(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
    return path


def submissions(requests):
    return [request for request in requests if request.method == "POST"]


def test_a_folder_is_one_job_whose_items_keep_their_places(tmp_path, capsys):
    folder(tmp_path / "in", "b.wav", "sub/a.mp3", "notes.txt")
    folder(tmp_path, "c.bin")
    with wire(JobServer("x")) as (url, requests):
        assert run(url, "submit", tmp_path / "in", tmp_path / "c.bin") == 0
    (request,) = submissions(requests)
    assert [(name, content.decode()) for _, name, content in parts(request)] == [
        ("b.wav", "b.wav"), ("sub/a.mp3", "sub/a.mp3"), ("c.bin", "c.bin"),
    ]  # fmt: skip
    said = "mt3: skipped 1 file that is not a recording: notes.txt\n"
    assert capsys.readouterr() == ("job_1\n", said)


def test_options_reach_the_server(tmp_path):
    folder(tmp_path, "a.wav")
    (tmp_path / "key").write_text("mt3-key\n")
    (tmp_path / "secret").write_text("s" * 20 + "\n")
    with wire(JobServer("x")) as (url, requests):
        code = run(
            url, "submit", tmp_path / "a.wav", "--decoding", "reference", "--start", "1", "--end",
            "2.5", "--model", "m", "--precision", "float32", "--format", "json", "--metadata",
            "a=b=c", "--metadata", "d=", "--webhook-url", "https://h.example/",
            "--webhook-secret-file", tmp_path / "secret", "--expires-in", "3600",
            "--idempotency-key", "k", "--api-key-file", tmp_path / "key", "--audio-track", "2",
        )  # fmt: skip
    assert code == 0
    (request,) = submissions(requests)
    assert request.query == {
        "decoding": "reference", "start": "1.0", "end": "2.5", "model": "m",
        "precision": "float32", "response_format": "json", "audio_track": "2",
    }  # fmt: skip
    fields = {name: value.decode() for name, _, value in parts(request) if name != "file"}
    assert json.loads(fields.pop("metadata")) == {"a": "b=c", "d": ""}
    assert fields == {
        "webhook_url": "https://h.example/", "webhook_secret": "s" * 20,
        "expires_in_seconds": "3600.0",
    }  # fmt: skip
    assert request.headers["authorization"] == "Bearer mt3-key"
    assert request.headers["idempotency-key"] == "k"


def test_addresses_are_submitted_in_place_of_files():
    with wire(JobServer("x")) as (url, requests):
        arguments = ["--url", "https://h.example/a", "--url", "u2", "--object", "s3://b/k"]
        assert run(url, "submit", *arguments, "--items-per-job", "2") == 0
    assert [json.loads(request.body)["inputs"] for request in submissions(requests)] == [
        [{"url": "https://h.example/a"}, {"url": "u2"}], [{"object": "s3://b/k"}],
    ]  # fmt: skip


def test_more_files_than_a_job_takes_are_several(tmp_path, capsys, monkeypatch):
    folder(tmp_path, *(f"{n}.wav" for n in range(5)))
    with wire(JobServer("x")) as (url, requests):
        arguments = [tmp_path, "--items-per-job", "2", "--idempotency-key", "k"]
        assert run(url, "submit", *arguments) == 0
        assert [len(parts(request)) for request in submissions(requests)] == [2, 2, 1]
        keys = [request.headers["idempotency-key"] for request in submissions(requests)]
        assert keys == ["k-0", "k-1", "k-2"]
        assert capsys.readouterr().out.split() == ["job_1", "job_2", "job_3"]
        # Again: the same jobs.
        assert run(url, "submit", *arguments) == 0
        assert capsys.readouterr().out.split() == ["job_1", "job_2", "job_3"]
        monkeypatch.setattr(job_submission, "BYTES_PER_JOB", 10)  # each file has 5
        del requests[:]
        assert run(url, "submit", tmp_path) == 0
        assert [len(parts(request)) for request in submissions(requests)] == [2, 2, 1]


def test_files_that_cannot_be_sent_are_named_and_the_others_submitted(tmp_path, capsys):
    folder(tmp_path, "a.wav")
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    names = ("a", "empty", "none", "pipe")
    with wire(JobServer("x")) as (url, requests):
        assert run(url, "submit", *(tmp_path / f"{name}.wav" for name in names)) == 3
        assert [name for _, name, _ in parts(submissions(requests)[0])] == ["a.wav"]
        *lines, last = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1] for line in lines] == [
            str(tmp_path / f"{name}.wav") for name in names[1:]
        ]
        assert "submitted without 3 of the inputs" in last
        del requests[:]
        assert run(url, "submit", tmp_path / "none.wav") == 1
        assert submissions(requests) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit"], "expected either files and folders, or"),
        (["submit", "a.wav", "--url", "u"], "expected either files and folders, or"),
        (["submit", "a.wav", "sub/a.wav"], "are both named a.wav; submit them separately"),
        (["submit", "*.none"], "nothing matches"),
        (["submit", "a.wav", "--metadata", "x"], "expected NAME=VALUE"),
        (["submit", "a.wav", "--items-per-job", "0"], "--items-per-job is 0; expected 1"),
        (["submit", "a.wav", "--webhook-secret-file", "none"], "none: "),
        (["submit", "a.wav", "--api-key-file", "none"], "none: "),
        (
            ["submit", "a.wav", "--webhook-secret-file", "a.wav"],
            "needs --webhook-url",
        ),
        (["status", "a/b"], "job_id is 'a/b'"),
        (["list", "--limit", "-1"], "--limit is -1"),
        (["fetch", JOB_ID, "-o", "a.wav"], "a.wav is a file; expected a folder"),
    ],
)
def test_wrong_usage(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(folder(tmp_path, "a.wav", "sub/a.wav"))
    with wire(JobServer("x")) as (url, requests):
        assert run(url, *arguments) == 2
    assert said in capsys.readouterr().err
    assert {request.path for request in requests} <= {"/health"}


def test_an_option_that_the_server_refuses_is_wrong_usage(tmp_path, capsys):
    folder(tmp_path, "a.wav")
    server = JobServer("x")
    server.submit = lambda _: problem(422, "invalid_option", param="end")
    with wire(server) as (url, _):
        assert run(url, "submit", tmp_path) == 2
    assert capsys.readouterr().err == "mt3: a detail\n"


@pytest.mark.parametrize("action", ["status", "wait", "cancel", "retry", "delete", "fetch"])
def test_a_missing_job_or_server_is_reported(tmp_path, capsys, action):
    more = ["-o", tmp_path / "out"] if action == "fetch" else []
    with wire(JobServer()) as (url, _):
        assert run(url, action, "job_gone", *more) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"mt3: job_gone: there is no such job on {url}; expected an id")
        assert "`mt3 jobs list`" in error
    assert run(url, action, JOB_ID, *more) == 1
    assert "no answer from 127.0.0.1" in capsys.readouterr().err


def test_waiting_names_what_failed(capsys):
    server = JobServer("a.wav", "b.wav")
    with wire(server) as (url, _):
        assert run(url, "wait", JOB_ID) == 0
        assert JOB_ID in capsys.readouterr().out
        server.items[1] = item(1, "b.wav", "failed", error=FAILED)
        assert run(url, "wait", JOB_ID, "job_2", "--json") == 1
        out, err = capsys.readouterr()
        assert [json.loads(line)["id"] for line in out.splitlines()] == [JOB_ID, "job_2"]
        assert f"mt3: {JOB_ID}: b.wav: not audio (audio_undecodable)" in err.splitlines()
        server.items[1] = item(1, "b.wav", "canceled")
        assert run(url, "wait", JOB_ID) == 1
        assert "1 items were canceled" in capsys.readouterr().err


def test_submitting_may_wait(tmp_path, capsys):
    folder(tmp_path, "a.wav")
    with wire(JobServer("a.wav")) as (url, requests):
        assert run(url, "submit", tmp_path, "--wait") == 0
    out, err = capsys.readouterr()
    assert out == "job_1\n"
    assert "succeeded" in err
    assert requests[-1].path == "/v1/jobs/job_1"


def test_a_wait_that_is_too_long_is_told(capsys):
    with wire(JobServer("a", status="queued")) as (url, _):
        assert run(url, "wait", JOB_ID, "--timeout", "0.1") == 1
    assert "it continues" in capsys.readouterr().err


def test_status_list_and_changes(capsys):
    server = JobServer("a.wav", "b.wav")
    server.items[1] = item(1, None, "failed", error=FAILED)
    server.jobs = [job(f"job_{n}", "processing", queue_position=3) for n in range(30)]
    with wire(server) as (url, requests):
        assert run(url, "status", JOB_ID) == 0
        out, err = capsys.readouterr()
        assert "2 of 2 items, 1 failed, 0:01:00 of audio" in out
        assert "item 1: not audio" in err
        assert run(url, "list") == 0
        assert len(capsys.readouterr().out.splitlines()) == 20
        assert run(url, "list", "--limit", "0", "--status", "processing", "--json") == 0
        assert len(capsys.readouterr().out.splitlines()) == 30
        del requests[:]
        for action in ("cancel", "retry", "delete"):
            assert run(url, action, JOB_ID, "job_2") == 0
    asked = [(r.method, r.path) for r in requests if r.path != "/health"]
    assert asked == [
        ("POST", f"/v1/jobs/{JOB_ID}/cancel"), ("POST", "/v1/jobs/job_2/cancel"),
        ("POST", f"/v1/jobs/{JOB_ID}/retry"), ("POST", "/v1/jobs/job_2/retry"),
        ("DELETE", f"/v1/jobs/{JOB_ID}"), ("DELETE", "/v1/jobs/job_2"),
    ]  # fmt: skip


def test_a_job_is_written_as_the_server_wrote_it(capsys):
    with wire(JobServer("a.wav")) as (url, _):
        assert run(url, "status", JOB_ID, "--json") == 0
    written = json.loads(capsys.readouterr().out)
    given = JobServer("a.wav").document()
    assert written.pop("response_format") is None
    assert written.pop("created_at").startswith("2026-11-21T07:30:00")
    assert written.pop("expires_at").startswith("2026-11-28T07:30:00")
    assert written == {k: v for k, v in given.items() if k not in ("created_at", "expires_at")}


def test_results_are_fetched_once_and_named_as_on_this_machine(tmp_path, capsys):
    server = JobServer("b.wav", "sub/a.mp3", "c.wav", "c.mp3", "d.wav", "e.wav")
    server.items[4] = item(4, "d.wav", "failed", error=FAILED)
    server.items[5] = item(5, "e.wav", "queued")
    out = tmp_path / "out"
    with wire(server) as (url, requests):
        assert run(url, "fetch", JOB_ID, "-o", out) == 1
        names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
        assert names == ["b.mid", "c.mp3.mid", "c.wav.mid", "sub/a.mid"]
        assert (out / "sub/a.mid").read_text() == f"midi {JOB_ID} 1"
        err = capsys.readouterr().err
        assert "d.wav: not audio (audio_undecodable)" in err
        assert f"4 results written to {out}, 1 items not done yet" in err
        (out / "b.mid").unlink()
        del requests[:]
        server.items = server.items[:4]
        assert run(url, "fetch", JOB_ID, "-o", out, "--json") == 0
    fetched = [r.path for r in requests if r.path.endswith("/result")]
    assert fetched == [f"/v1/jobs/{JOB_ID}/items/0/result"]
    said = capsys.readouterr()
    assert "1 results written" in said.err
    assert "3 already existed" in said.err
    assert json.loads(said.out) == {
        "job": JOB_ID, "number": 0, "name": "b.wav", "path": str(out / "b.mid")
    }  # fmt: skip


def test_the_warnings_of_fetched_results_are_shown(tmp_path, capsys):
    server = JobServer("a.wav", "b.wav")
    server.items[1]["warnings"] = [WARNING]
    with wire(server) as (url, _):
        assert run(url, "fetch", JOB_ID, "-o", tmp_path) == 0
        assert f"mt3: {JOB_ID}: b.wav: warning: cut – short\n" in capsys.readouterr().err
        assert run(url, "fetch", JOB_ID, "-o", tmp_path) == 0
        assert "cut" not in capsys.readouterr().err


def test_the_form_is_what_was_asked_for_when_submitted(tmp_path):
    server = JobServer("a.wav")
    plain = server.document
    server.document = lambda job_id=JOB_ID: {**plain(job_id), "response_format": "piano_roll"}
    with wire(server) as (url, _):
        assert run(url, "fetch", JOB_ID, "-o", tmp_path / "out") == 0
        assert run(url, "fetch", JOB_ID, "-o", tmp_path / "out", "--format", "jsonl") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jsonl", "a.png"]


def test_names_from_the_network_stay_in_their_folder():
    names = [
        "../../etc/x.wav", "/abs/y.wav", "a/../../z.wav", "..", "", None, "c:\\d\\e.wav", "n\0.wav",
        "./q//r.wav", "é" * 300 + ".wav", "Same.wav", "same.wav", "same.wav", ". .", "...",
    ]  # fmt: skip
    items = [read_document(JobItem, item(n, name)) for n, name in enumerate(names)]
    places = result_paths(items, ".mid")
    assert [place.as_posix() for place in places[:9]] == [
        "etc/x.mid", "abs/y.mid", "a/z.mid", "item-000003.mid", "item-000004.mid",
        "item-000005.mid", "c__d_e.mid", "n_.mid", "q/r.mid",
    ]  # fmt: skip
    for place in places:
        assert not place.is_absolute()
        assert not {"..", "."} & {*place.parts}
        assert all(len(part.encode()) <= 255 for part in place.parts)
    assert len({str(place).casefold() for place in places}) == len(places)


def test_lines_in_a_pipe_come_now_and_then(capsys):
    now = [0.0]
    lines = JobProgressLines(None, clock=lambda: now[0])
    for done, time in ((0, 0), (0, 60), (1, 61), (2, 62), (3, 72)):
        now[0] = float(time)
        lines.show(read_document(Job, job(progress=progress(3, done))))
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].split("  ")[-1].strip() for line in said] == [
        "0 of 3 items", "1 of 3 items", "3 of 3 items",
    ]  # fmt: skip


def test_a_job_in_a_line():
    counts = {**progress(3, 1, 1, 1), "audio_seconds_done": 3_725.4, "audio_seconds_total": 7_200}
    line = describe(read_document(Job, job(progress=counts, queue_position=2)))
    assert line.endswith(
        "3 of 3 items, 1 failed, 1 canceled, 1:02:05 of 2:00:00 of audio, 2 items ahead,"
        " until 2026-11-28 07:30Z"
    )


@pytest.mark.slow
def test_nothing_heavy_is_imported_and_a_terminal_shows_a_bar(tmp_path):
    folder(tmp_path, "a.wav")
    with wire(JobServer("a.wav")) as (url, _):
        run_bare("jobs", "submit", tmp_path / "a.wav", "--wait", "--server", url)
        run_bare("jobs", "fetch", JOB_ID, "-o", tmp_path / "out", "--server", url)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mid"]
        assert "1/1" in shown_on_a_terminal("jobs", "wait", JOB_ID, "--server", url)


def shown_on_a_terminal(*arguments):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    command = [sys.executable, "-m", "service.cli", *arguments]
    with subprocess.Popen(command, stderr=theirs, cwd=Path.cwd()) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4_096):
                shown += piece
        except OSError:  # Linux's way to say that the terminal's other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return shown.decode()
