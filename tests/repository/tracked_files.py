"""The files of the repository: what git tracks, and what it would if it were added now."""

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def tracked_files() -> tuple[str, ...]:
    """Paths relative to the root, with forward slashes."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return tuple(sorted({path for path in listing.split("\0") if (ROOT / path).is_file()}))


@functools.cache
def read_text(path: str) -> str | None:
    """A tracked file's text; None if it is binary."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
