"""Generates the synchronous client from the asynchronous one: `make sync-client`.

`service/client/_async` is written by hand; `service/client/_sync` is what `unasync` makes of it,
formatted by ruff and checked in, so that an installation needs neither. With the argument `--check`
nothing is written, and the exit code is 1 if a file is not current.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "service" / "client"
HEADER = "# Generated from ../_async/{name} by `make sync-client`: do not edit.\n"
NAMES = {
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
    "aread": "read",
}
# AsyncClient -> Client and async_sleep -> sleep, in code and docstrings alike.
PREFIX = re.compile(r"\b(?:Async(?=[A-Z])|async_(?=[a-z]))")


def generate():
    """File name -> text, for every module of the synchronous client."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "_async")
        source.mkdir()
        for path in CLIENT.glob("_async/*.py"):
            text = PREFIX.sub("", path.read_text(encoding="utf-8"))
            # unasync renames tokens; these two names also stand in docstrings.
            text = text.replace("`contextlib.aclosing`", "`contextlib.closing`")
            (source / path.name).write_text(text.replace("`async with`", "`with`"))
        rule = unasync.Rule("/_async/", "/_sync/", additional_replacements=NAMES)
        unasync.unasync_files([str(path) for path in source.iterdir()], [rule])
        return {
            path.name: formatted(path.name, HEADER.format(name=path.name) + path.read_text())
            for path in Path(folder, "_sync").iterdir()
            if path.stat().st_size
        }


def formatted(name, text):
    """Sorts the imports and breaks the lines as everywhere in the repository."""
    path = f"{CLIENT}/_sync/{name}"
    for command in (["check", "--fix", "--exit-zero"], ["format"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", path, "-"],
            input=text, capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
    return text


def main(arguments):
    wanted = {CLIENT / "_sync" / name: text for name, text in generate().items()}
    present = {path for path in CLIENT.glob("_sync/*.py") if path.name != "__init__.py"}
    stale = {path for path in present if path.read_text(encoding="utf-8") != wanted.get(path)}
    stale |= wanted.keys() - present
    for path in sorted(stale):
        print(f"{path.relative_to(ROOT)} is not current", file=sys.stderr)
        if "--check" not in arguments:
            path.unlink(missing_ok=True)
            if path in wanted:
                path.write_text(wanted[path], encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
