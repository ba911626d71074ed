"""The files of deploy/, read as their tools read them, and checked by the program."""

import functools
import json
import re
import shutil
import subprocess
import tomllib

import yaml

from service.settings import Settings
from tests.repository.tracked_files import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "mt3"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SETTINGS = {f"MT3_{name.upper()}" for name in Settings.model_fields}
OUR_USER = 10001


@functools.cache
def routes():
    """Paths of the HTTP API and of the page."""
    from service.api.app import create_app  # noqa: PLC0415 (what asks for no route need not wait)

    app = create_app(Settings(backend="fake", jobs=False))
    return {*app.openapi()["paths"], "/docs", "/openapi.json", "/", "/assets"}


def is_pinned(image):
    """Whether a digest says which build, or a tag with a number in it, and never `latest`."""
    if re.fullmatch(r".+@sha256:[0-9a-f]{64}", image):
        return True
    name, _, tag = image.rpartition(":")
    return bool(name) and tag != "latest" and bool(re.search(r"\d", tag))


def compose(name):
    """A compose file, its merges done."""
    return yaml.safe_load((DEPLOY / name).read_text())


def compose_command():
    """The real tool, version 2 or newer: a plugin of docker's, or a program of its own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and not done.stdout.startswith("1."):
                return command
    return None


def render(values, *, name="demo", namespace="music"):
    """Documents of the chart, made by the renderer that is found: Helm's SDK, or its program.

    Raises:
        ValueError: Helm refuses the values; with its message.
    """
    text = _by_sdk(values, name, namespace) if sdk() else _by_program(values, name, namespace)
    return [document for document in yaml.safe_load_all(text) if document]


@functools.cache
def sdk():
    """Helm's own library, if the wheel that carries it is installed."""
    try:
        import helm_python  # noqa: PLC0415 (not in every environment)
    except ImportError:
        return None
    return helm_python


def has_helm():
    """Whether the chart can be rendered here."""
    return sdk() is not None or shutil.which("helm") is not None


def _by_sdk(values, name, namespace):
    helm = sdk()
    try:
        with helm.Chart.load(str(CHART)) as chart:
            made = chart.render(values, name=name, namespace=namespace)
    except helm.HelmError as error:
        raise ValueError(str(error)) from error
    return "\n---\n".join(text for path, text in made.items() if path.endswith(".yaml"))


def _by_program(values, name, namespace):
    done = subprocess.run(
        ["helm", "template", name, str(CHART), "--namespace", namespace, "--values", "-",
         "--kube-version", "1.30.0"],
        input=json.dumps(values), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout
