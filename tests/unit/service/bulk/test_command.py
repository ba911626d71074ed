"""`mt3 bulk` without Ray: refusals, messages and the state of the output."""

import subprocess
import sys

import pytest

from service.cli import main
from service.settings import Settings
from tests.unit.service.bulk.plans import write


@pytest.fixture
def without_ray(monkeypatch):
    for name in ("ray", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "service.bulk.ray_job", raising=False)


def run(tmp_path, *options):
    return main(["bulk", str(tmp_path / "in"), str(tmp_path / "out"), *options])


@pytest.mark.usefixtures("without_ray")
def test_without_ray_it_says_what_to_install(tmp_path, capsys):
    write(tmp_path / "in", "a.wav")
    assert run(tmp_path) == 1
    assert "mt3-service[ray]" in capsys.readouterr().err


@pytest.mark.usefixtures("without_ray")
def test_the_state_needs_no_ray(tmp_path, capsys):
    write(tmp_path / "in", "a.wav", "b.flac", "c.txt")
    write(tmp_path / "out", "a.wav.json")
    assert run(tmp_path, "--status", "--format", "json") == 0
    assert capsys.readouterr().out == "1 done, 0 failed, 1 left of 2 recordings\n"


@pytest.mark.slow
def test_only_the_run_itself_imports_ray():
    names = ["device", "listing", "retry", "bulk_plan", "summary", "sweeping", "unit_worker"]
    imports = ", ".join(["service.commands.bulk", *(f"service.bulk.{name}" for name in names)])
    code = f"import sys, {imports}; sys.exit('ray' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--limit", "0"), "--limit is 0; expected 1 or more"),
        (("--in-flight", "-1"), "--in-flight is -1; expected 1 or more"),
        (("--actors", "0"), "--actors is 0; expected 1 or more"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(tmp_path, capsys, options, said):
    assert run(tmp_path, *options) == 2
    assert said in capsys.readouterr().err


def test_an_output_among_the_inputs_is_refused(tmp_path, capsys):
    assert main(["bulk", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "is inside the input" in capsys.readouterr().err


def test_a_storage_that_there_is_not_is_named(tmp_path, capsys):
    assert main(["bulk", "ftp://host/x", str(tmp_path), "--status"]) == 1
    assert "ftp://host/x" in capsys.readouterr().err


def test_no_secret_leaves_the_machine():
    from service.commands.bulk import _SECRETS  # noqa: PLC0415

    secret = {
        name
        for name, field in Settings.model_fields.items()
        if "Secret" in str(field.annotation) or (name.endswith("_url") and "database" in name)
    }
    assert secret <= set(_SECRETS)
