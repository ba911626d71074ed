"""The built page is what its sources build, and its lock file names no addresses."""

import hashlib
import json
import shutil
import subprocess

import pytest

from tests.repository.tracked_files import ROOT, tracked_files

WEB = ROOT / "service" / "web"
NPM = shutil.which("npm")
AGAIN = "build the page again: npm ci --ignore-scripts && npm run build, in service/web"


def test_the_built_page_belongs_to_these_sources():
    sources = ["index.html", "package-lock.json", "vite.config.ts"]
    sources += [
        path.removeprefix("service/web/")
        for path in tracked_files()
        if path.startswith("service/web/src/")
    ]
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path}\0".encode() + (WEB / path).read_bytes() + b"\0")
    assert (WEB / "dist" / "sources.sha256").read_text().strip() == digest.hexdigest(), AGAIN


def test_the_built_page_and_nothing_else_is_tracked():
    built = {
        file.relative_to(ROOT).as_posix() for file in (WEB / "dist").rglob("*") if file.is_file()
    }
    assert built == {path for path in tracked_files() if path.startswith("service/web/dist/")}


@pytest.mark.slow
@pytest.mark.skipif(
    NPM is None or not (WEB / "node_modules").is_dir(),
    reason="needs node and service/web/node_modules (make test-page)",
)
def test_building_again_gives_the_same_files(tmp_path):
    command = [NPM, "exec", "--", "vite", "build", "--outDir", str(tmp_path), "--emptyOutDir"]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)
    again = {file.relative_to(tmp_path): file.read_bytes() for file in files(tmp_path)}
    dist = WEB / "dist"
    assert again == {file.relative_to(dist): file.read_bytes() for file in files(dist)}, AGAIN


def test_the_lock_file_has_hashes_and_no_addresses():
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    locked = {name: package for name, package in packages.items() if name}
    assert all("integrity" in package for package in locked.values())
    assert not [name for name, package in locked.items() if "resolved" in package]
    # The library asks for any version of its core.
    assert locked["node_modules/spessasynth_core"]["version"] == "4.3.22"


def files(folder):
    return [file for file in folder.rglob("*") if file.is_file()]
