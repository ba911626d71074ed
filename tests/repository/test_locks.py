"""Lock files: every version exact, every file hashed, no address, and what is asked for in them."""

import re
import tomllib

import pytest

from tests.repository.tracked_files import ROOT

LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[\w,-]+\])?==([^ ;\\]+)")


def read_requirements(lock: str) -> list[str]:
    """One string for each requirement, its hashes with it."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]


def read_names(lock: str) -> set[str]:
    return {match[1] for line in read_requirements(lock) if (match := REQUIREMENT.match(line))}


def test_there_is_a_lock_for_each_accelerator_and_for_development():
    wanted = {"requirements.lock", "requirements-cuda.lock", "requirements-tpu.lock"}
    assert wanted | {"requirements-dev.lock"} <= set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_exact_and_hashed(lock):
    loose = [
        line
        for line in read_requirements(lock)
        if not REQUIREMENT.match(line) or "--hash=sha256:" not in line
    ]
    assert not loose


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_holds_an_address_or_a_path(lock):
    text = (ROOT / lock).read_text()
    assert not re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*|^.* @ .*$", text)
    assert not re.findall(r"via -r /.*", text)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-cuda.lock"])
def test_every_dependency_is_locked(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in project["dependencies"]
    }
    assert wanted <= read_names(lock)


def test_the_accelerators_are_in_their_locks():
    assert any(name.startswith("jax-cuda") for name in read_names("requirements-cuda.lock"))
    assert "libtpu" in read_names("requirements-tpu.lock")


def test_the_accelerators_change_no_version_of_anything_else():
    def versions(lock):
        found = {}
        for line in read_requirements(lock):
            match = REQUIREMENT.match(line)
            found.setdefault(match[1], set()).add(match[2])
        return found

    plain = versions("requirements.lock")
    for lock in ("requirements-cuda.lock", "requirements-tpu.lock"):
        other = versions(lock)
        changed = {name for name in plain.keys() & other.keys() if plain[name] != other[name]}
        assert not changed, lock
