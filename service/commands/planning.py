"""What `mt3 transcribe` was asked for -> which recordings are read and where each result goes.

The same for both roads, this machine's model and a server, so that a result has the same name
either way. It imports nothing heavy: with a server, the command works where only the client is
installed.
"""

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mt3_model.errors import OptionError

AUDIO_SUFFIXES = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
        ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg",
        ".oga", ".ogg", ".opus", ".ts", ".tta", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma",
        ".wv",
    }
)  # fmt: skip
"""What a folder is searched for; a file named on its own may be called anything."""
FORMAT_SUFFIXES = {
    "midi": ".mid",
    "json": ".json",
    "jsonl": ".jsonl",
    "notesequence": ".pb",
    "notesequence_json": ".notesequence.json",
    "piano_roll": ".png",
}
"""`ExportFormat`'s values and suffixes, spelled out so that nothing need be imported; a test
compares them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One recording to transcribe, and where the result goes."""

    source: Path
    target: Path


def expand_globs(inputs: Sequence[Path]) -> list[Path]:
    """Replaces patterns that the shell left alone (quoted, or on Windows) by what they match.

    Raises:
        OptionError: A pattern matches nothing.
    """
    expanded: list[Path] = []
    for path in inputs:
        if path.exists() or not glob.has_magic(str(path)):
            expanded.append(path)
            continue
        # Path.glob takes relative patterns only; these may begin anywhere.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not matches:
            raise OptionError("inputs", f"nothing matches {path}")
        expanded += map(Path, matches)
    return expanded


def plan_tasks(inputs: Sequence[Path], output: Path, suffix: str) -> list[Task]:
    """Says which recordings are read and where each result goes.

    A single file's result is ``output`` itself, unless that is a folder. With a folder among the
    inputs or several of them, ``output`` is a folder: results are named after their inputs, below
    a searched folder at the same place as there. Inputs that differ only in their suffix keep it:
    ``song.wav.mid``.

    Raises:
        OptionError: ``output`` is, or by its suffix names, a file where a folder is needed, or a
            folder holds no audio.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if single and not output.is_dir() and not str(output).endswith("/"):
        return [Task(source=inputs[0], target=output)]
    if not output.is_dir() and (output.exists() or output.name.lower().endswith(suffix)):
        raise OptionError(
            "output",
            f"{output} is or names a file; expected a folder for the results of several inputs",
        )
    found = find_recordings(inputs)
    places = name_results([place for _, place in found], suffix)
    tasks = [
        Task(source=source, target=output / place)
        for (source, _), place in zip(found, places, strict=True)
    ]
    twice = [target for target, count in Counter(t.target for t in tasks).items() if count > 1]
    if twice:
        raise OptionError(
            "inputs", f"several inputs would be written to {twice[0]}; transcribe them apart"
        )
    return tasks


def find_recordings(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Searches folders for audio; says of each recording where it is and what it is called.

    That is a path too: of what was found in a folder, its place below it.

    Raises:
        OptionError: A folder holds no audio.
    """
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        recordings = sorted(
            file for file in path.rglob("*")
            if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
        )  # fmt: skip
        if not recordings:
            raise OptionError("inputs", f"there is no audio file in the folder {path}")
        found += [(file, file.relative_to(path)) for file in recordings]
    return found


def name_results(places: Sequence[Path], suffix: str) -> list[Path]:
    """Names results after their recordings; those that differ in their suffix only keep it."""
    stems = Counter(place.with_suffix("") for place in places)
    return [
        place.with_name((place.name if stems[place.with_suffix("")] > 1 else place.stem) + suffix)
        for place in places
    ]


def format_of(output: Path) -> str:
    """The form that a file's suffix names; MIDI where it names none."""
    longest_first = sorted(FORMAT_SUFFIXES, key=lambda form: -len(FORMAT_SUFFIXES[form]))
    name = output.name.lower()
    return next((form for form in longest_first if name.endswith(FORMAT_SUFFIXES[form])), "midi")


def write_whole(content: bytes, target: Path) -> None:
    """Writes beside the name and renames: a file under that name is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
