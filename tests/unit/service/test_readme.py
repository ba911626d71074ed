"""The READMEs name every setting, metric, route and command."""

import pathlib

import pytest

import service
from service.api.accept import ACCEPTED_TYPES
from service.api.app import describe_api
from service.api.problems import _HTTP_CODES, INTERNAL, PROBLEMS
from service.cli import FORMAT_NAMES, build_parser
from service.schemas.transcription_options import OPTION_NAMES
from service.settings import Settings

FOLDER = pathlib.Path(service.__path__[0])
README = (FOLDER / "README.md").read_text(encoding="utf-8")
API = (FOLDER / "api" / "README.md").read_text(encoding="utf-8")
COMMANDS = README + (FOLDER / "benchmark" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_named(name):
    assert f"| `MT3_{name.upper()}` |" in README


@pytest.mark.parametrize("problem", [*PROBLEMS.values(), INTERNAL])
def test_every_error_is_named_with_its_status(problem):
    assert f"| `{problem.code}` | {problem.status.value} |" in API


@pytest.mark.parametrize("code", list(_HTTP_CODES.values()))
def test_every_error_of_the_framework_is_named(code):
    assert f"| `{code}` |" in API


def test_every_route_is_named():
    for path, operations in describe_api()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in API


@pytest.mark.parametrize("name", [*OPTION_NAMES, *FORMAT_NAMES, *ACCEPTED_TYPES])
def test_every_option_form_and_media_type_is_named(name):
    assert f"`{name}`" in API


def test_every_command_and_option_is_named():
    (commands,) = (a for a in build_parser()._actions if a.choices)
    for name, parser in commands.choices.items():
        assert f"`mt3 {name}" in README
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and option not in ("--help", "--output"):
                    assert f"`{option}" in COMMANDS, option
