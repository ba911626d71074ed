"""Build the peers' environments in `.venv-peers/`, one each, from the pinned requirements here.

    python -m tests.benchmarks.peers.setup [NAME ...]

The files name everything a peer imports, and pip installs them without the peers' dependencies:
basic-pitch requires a TensorFlow that no longer installs, mt3-infer requires torchvision. torch is
meant as a CPU build (version ``2.13.0+cpu`` satisfies the pin); where pip finds only the CUDA
build, give pip torch's own index of CPU builds. torchaudio's compiled part is built for CUDA and
stops its import beside a CPU torch; it is optional and what mt3-infer uses is Python, so it
is removed. An environment is complete if it holds the sha256 of its file; otherwise
it is built again.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".venv-peers"
"""Ignored by git."""
ENVIRONMENTS = ("mt3-infer", "basic-pitch")
_STAMP = ".installed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ENVIRONMENTS))
    names = parser.parse_args().names or ENVIRONMENTS
    if unknown := set(names) - set(ENVIRONMENTS):
        parser.error(f"no such environment: {', '.join(sorted(unknown))}")
    for name in names:
        build(name)
        print(f"{name}: {FOLDER / name}")


def requirements_file(name: str) -> Path:
    """Return the file with the pinned requirements of an environment."""
    return Path(__file__).with_name(f"requirements-{name}.txt")


def python_of(name: str) -> Path:
    """Return the interpreter of an environment."""
    scripts = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    return FOLDER / name / scripts


def is_built(name: str) -> bool:
    """Return whether the environment is complete and matches its file."""
    stamp = FOLDER / name / _STAMP
    return stamp.is_file() and stamp.read_text() == _digest(name)


def build(name: str) -> None:
    """Build an environment unless it is complete."""
    if is_built(name):
        return
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Setting up {folder} (a minute or two, once)", file=sys.stderr)
    venv.create(folder, with_pip=True)
    subprocess.run(
        [
            *(python_of(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--requirement", requirements_file(name)),
        ],
        check=True,
        stdout=sys.stderr,
    )
    for library in folder.glob("**/site-packages/torchaudio/lib/*torchaudio*.so"):
        library.unlink()
    (folder / _STAMP).write_text(_digest(name))


def _digest(name: str) -> str:
    return hashlib.sha256(requirements_file(name).read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
