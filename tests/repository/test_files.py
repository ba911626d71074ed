"""Rules for the names and sizes of files in the repository."""

import re
from pathlib import PurePosixPath

from tests.repository.tracked_files import ROOT, read_text, tracked_files

FOLDERS = {".ci", "checkpoints", "deploy", "mt3_model", "service", "tests"}
FILES = {
    ".dockerignore", ".editorconfig", ".gitattributes", ".gitignore", ".pre-commit-config.yaml",
    "CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile", "NOTICE", "README.md", "pyproject.toml",
    "requirements.lock", "requirements-cuda.lock", "requirements-dev.lock",
    "requirements-ray.lock", "requirements-seqio.lock", "requirements-tpu.lock",
}  # fmt: skip
LONGEST_FILE_LINES = 500
LARGEST_FILE_BYTES = 1 << 20
# Written by a tool, and read by people only as a difference.
GENERATED = re.compile(
    r"requirements.*\.lock|deploy/load/requirements\.txt|.*/openapi\.json|deploy/grafana/.*\.json|LICENSE"
    r"|service/client/_sync/.*|service/web/dist/.*|service/web/package-lock\.json"
)
SCORE_LIBRARY = "service/web/dist/assets/opensheetmusicdisplay"
VAGUE_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}


def test_the_top_level_holds_only_what_is_agreed():
    top = {path.split("/", 1)[0] for path in tracked_files() if "/" in path}
    assert top <= FOLDERS
    assert {path for path in tracked_files() if "/" not in path} <= FILES


def test_no_file_is_longer_than_the_ceiling():
    long = {
        path: text.count("\n")
        for path in tracked_files()
        if not GENERATED.fullmatch(path)
        and (text := read_text(path)) is not None
        and text.count("\n") > LONGEST_FILE_LINES
    }
    assert not long


def test_no_file_is_larger_than_a_mebibyte():
    sizes = {path: (ROOT / path).stat().st_size for path in tracked_files()}
    large = {path: size for path, size in sizes.items() if size > LARGEST_FILE_BYTES}
    # One library of the built page, which draws scores; 340 kB compressed, as in a clone.
    assert [path for path in large if not path.startswith(SCORE_LIBRARY)] == []
    assert all(size < 2 * LARGEST_FILE_BYTES for size in large.values())


def test_no_module_has_a_name_that_says_nothing():
    vague = {
        path
        for path in tracked_files()
        if path.endswith(".py")
        and VAGUE_NAMES & {part.lower() for part in PurePosixPath(path).with_suffix("").parts}
    }
    assert not vague


def test_package_initialisers_are_empty():
    # The client's may name its public names.
    filled = {
        path
        for path in tracked_files()
        if PurePosixPath(path).name == "__init__.py"
        and path != "service/client/__init__.py"
        and (ROOT / path).stat().st_size
    }
    assert not filled


def test_no_parameters_are_tracked():
    tracked = [path for path in tracked_files() if path.startswith("checkpoints/")]
    assert set(tracked) == {
        "checkpoints/.gitignore", "checkpoints/README.md", "checkpoints/manifest.toml"
    }  # fmt: skip
    weights = (".safetensors", ".ckpt", ".msgpack", ".pt")
    assert not [path for path in tracked_files() if path.endswith(weights)]


def test_no_file_names_a_folder_of_somebodys_machine():
    # Built from pieces, so that this file does not hold what it looks for.
    absolute = re.compile(r"(?<![\w./-])/(?:" + "work" + "|" + "root" + r")/|/(?:home|Users)/[a-z]")
    assert not files_with(absolute)


def test_no_file_names_a_package_registry():
    hosts = re.compile("|".join([r"pypi\." + "org", "python" + "hosted", r"registry\." + "npmjs"]))
    assert not files_with(hosts)


def test_licence_and_notice_are_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    # Ported from Apache-2.0 work, whose notice goes along.
    assert "MT3" in (ROOT / "NOTICE").read_text()


def files_with(pattern):
    """Path -> the first line that matches."""
    found = {}
    for path in tracked_files():
        match = pattern.search(read_text(path) or "")
        if match:
            found[path] = match.string[max(0, match.start() - 20) : match.end() + 40]
    return found
