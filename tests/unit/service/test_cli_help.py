"""Help of the program: version, examples and models; and errors without tracebacks."""

import re
import shlex
from importlib import metadata

import pytest

from service.cli import build_parser, main
from service.commands.examples import EXAMPLES, commands_of
from service.commands.option_names import name_options
from tests.unit.service.client.job_server import JobServer, item, job
from tests.unit.service.client.wire import answer, json_answer, wire


def parsers(parser, name=""):
    yield name, parser
    for word, child in commands_of(parser).items():
        yield from parsers(child, f"{name} {word}".strip())


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mt3 {metadata.version('mt3-service')}\n"


def test_every_help_has_examples():
    found = dict(parsers(build_parser()))
    assert found.keys() == EXAMPLES.keys()
    for name, parser in found.items():
        assert EXAMPLES[name][0] in parser.format_help()


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_examples_are_commands(line):
    found = re.search(r"(?:^|[ (])mt3 (?!mt3)(.*?)(?:\)| > .*)?$", line)
    words = shlex.split(found[1])
    if words != ["COMMAND", "--help"]:
        build_parser().parse_args(words)


def test_models_show_sizes_and_what_the_checkpoint_variable_gives(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MT3_CHECKPOINT", raising=False)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "MT3_CHECKPOINT" not in out
    assert re.search(r"\d+ MB", out)
    (tmp_path / "mt3.safetensors").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("MT3_CHECKPOINT", str(tmp_path))
    assert main(["models"]) == 0
    assert f"{tmp_path}/mt3.safetensors (3 MB)" in capsys.readouterr().out
    monkeypatch.setenv("MT3_CHECKPOINT", str(tmp_path / "none"))
    assert main(["models"]) == 0
    assert "none: has no checkpoint of mt3" in capsys.readouterr().out


def test_the_variable_names_the_server(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"a")
    arguments = ["transcribe", str(tmp_path / "a.wav"), "-o", str(tmp_path / "x.mid")]

    def script(request):
        return [json_answer({"state": "ready"}) if request.path == "/ready" else answer(body=b"M")]

    with wire(script) as (url, requests):
        monkeypatch.setenv("MT3_SERVER", url)
        assert main(arguments) == 0
        assert [request.method for request in requests] == ["GET", "POST"]
        assert main([*arguments, "--checkpoint", "x"]) == 2
        assert f"MT3_SERVER ({url}) names a server" in capsys.readouterr().err
    with wire(JobServer("a.wav")) as (url, requests):
        monkeypatch.setenv("MT3_SERVER", url)
        assert main(["jobs", "status", "job_1"]) == 0
        assert requests[-1].path == "/v1/jobs/job_1"


def test_local_overrides_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MT3_SERVER", "http://127.0.0.1:1")
    asked = []

    def load(settings):
        asked.append(settings.model)
        raise KeyboardInterrupt

    (tmp_path / "a.wav").touch()
    arguments = ["transcribe", str(tmp_path / "a.wav"), "-o", str(tmp_path / "x.mid"), "--local"]
    assert main(arguments, load=load) == 130
    assert asked == ["mt3"]


def test_jobs_are_listed_with_dates_and_names(capsys):
    server = JobServer("side a.wav", "b.wav", "c.wav")
    server.items[1] = item(1, None, "queued")
    server.jobs = [job("job_9", "processing")]
    with wire(server) as (url, _):
        assert main(["jobs", "list", "--server", url]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"2026-11-\d\d \d\d:\d\d  side a\.wav and \d+ more  job_9  processing", line)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("start is -1.0 s; expected a number", "--start is -1.0 s; expected a number"),
        ("end is 1 s; more than start, 3 s", "--end is 1 s; more than --start, 3 s"),
        ("end is 1 s; above start (3 s)", "--end is 1 s; above --start (3 s)"),
        ("shorten it with start and end", "shorten it with --start and --end"),
        ("expires_in_seconds is 1; expected 60", "--expires-in is 1; expected 60"),
        ("webhook.url has a host", "--webhook-url has a host"),
        ("options.start is no text", "--start is no text"),
        ("base_url is 'x'; expected http://", "--server is 'x'; expected http://"),
        ("audio_track is 3; the file has 2", "--audio-track is 3; the file has 2"),
        ("the model is loaded in float32", "the model is loaded in float32"),
        ("a start in the end", "a start in the end"),
        ("--start is 1", "--start is 1"),
        ("set it with first_downbeat= or tempo=", "set it with --first-downbeat or --tempo"),
        ("a.mp3: start is 99 s, the end is 3 s", "a.mp3: --start is 99 s, the end is 3 s"),
    ],
)  # fmt: skip
def test_options_are_called_as_they_are_typed(message, said):
    assert name_options(message) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transcribe", "a.wav", "-o", "b", "--start", "-1"], "mt3: --start is -1.0 s"),
        (["transcribe", "a.wav", "-o", "b", "--start", "3", "--end", "1"], "above --start (3 s)"),
        (["transcribe", "a.wav", "-o", "b", "--server", "x"], "mt3: --server is 'x'"),
        (["jobs", "list", "--server", "x"], "mt3: --server is 'x'"),
        (["serve", "--port", "99999"], "mt3: --port (or MT3_PORT) is 99999: "),
        (["serve", "--model", "mt4"], "mt3: --model (or MT3_MODEL) is 'mt4'; expected one of"),
    ],
)
def test_wrong_usage_in_the_words_of_the_command_line(
    tmp_path, capsys, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
