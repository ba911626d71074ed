"""Command-line inputs -> the recordings they name, and what was passed over on the way.

Files named one by one are taken as they are. Folders are searched: a file with the suffix of an
audio format is a recording, any other file is one if its first bytes say so
(`mt3_model/audio/containers.py`). A recording that is reached twice (through a link, a relative
path, or a folder and its own name) is listed once. Everything here works with the client alone.
"""

import dataclasses
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mt3_model.audio.containers import is_recording
from mt3_model.audio.windows import FileWindow
from mt3_model.errors import OptionError

AUDIO_SUFFIXES = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
        ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg",
        ".oga", ".ogg", ".opus", ".ts", ".tta", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma",
        ".wv",
    }
)  # fmt: skip
"""A file in a folder with one of these is tried as a recording without a look at its content."""
_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecording:
    """One recording to read."""

    path: Path
    place: Path
    """What it is called: its file name, or in a searched folder its path below the folder."""
    label: str
    """What messages call it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecordings:
    """The recordings that the inputs name."""

    recordings: tuple[FoundRecording, ...]
    is_searched: bool = False
    """A folder was searched for them."""
    strangers: tuple[Path, ...] = ()
    """Files in searched folders that are no recordings."""
    hidden: tuple[Path, ...] = ()
    """Recordings and folders in searched folders whose names begin with a dot."""
    unreadable: tuple[tuple[Path, OSError], ...] = ()
    """Folders that could not be searched."""

    @property
    def is_single(self) -> bool:
        """Whether they are one file, named as such."""
        return len(self.recordings) == 1 and not self.is_searched

    def describe_skipped(self, results: Iterable[Path] = ()) -> list[str]:
        """Says in one line each what was passed over.

        Args:
            results: Files of this command's own, which are not mentioned.
        """
        own = {os.path.realpath(path) for path in results}
        strangers = [path for path in self.strangers if os.path.realpath(path) not in own]
        lines: list[str] = []
        if strangers:
            one = len(strangers) == 1
            kind = "file that is no recording" if one else "files that are no recordings"
            lines.append(f"skipped {len(strangers)} {kind}: {_list_names(strangers)}")
        if self.hidden:
            lines.append(f"skipped {len(self.hidden)} hidden: {_list_names(self.hidden)}")
        return lines


def expand_globs(inputs: Sequence[str | Path]) -> list[Path]:
    """Replaces patterns that the shell left alone (quoted, or on Windows) by what they match.

    Raises:
        OptionError: A pattern matches nothing.
    """
    expanded: list[Path] = []
    for name in map(str, inputs):
        if os.path.lexists(name) or not glob.has_magic(name):
            expanded.append(Path(name))
            continue
        # Path.glob takes relative patterns only; these may begin anywhere.
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        if not matches:
            raise OptionError("inputs", f"nothing matches {name}")
        expanded += map(Path, matches)
    return expanded


def find_recordings(inputs: Sequence[Path]) -> FoundRecordings:
    """Lists the recordings that files and folders hold, each once.

    Raises:
        OptionError: A folder holds no recording.
    """
    found: dict[str, FoundRecording] = {}
    strangers: list[Path] = []
    hidden: list[Path] = []
    unreadable: list[tuple[Path, OSError]] = []
    for path in inputs:
        if not path.is_dir():
            recordings = [FoundRecording(path=path, place=Path(path.name), label=str(path))]
        else:
            searched = _search(path)
            if not (searched.recordings or searched.unreadable):
                raise OptionError("inputs", f"there is no audio file in the folder {path}")
            recordings = searched.recordings
            strangers += searched.strangers
            hidden += searched.hidden
            unreadable += searched.unreadable
        for recording in recordings:
            found.setdefault(os.path.realpath(recording.path), recording)
    return FoundRecordings(
        recordings=tuple(found.values()), is_searched=any(path.is_dir() for path in inputs),
        strangers=tuple(dict.fromkeys(strangers)),
        hidden=tuple(dict.fromkeys(hidden)), unreadable=tuple(unreadable),
    )  # fmt: skip


def _search(folder: Path) -> FoundRecordings:
    """Searches a folder and those below it, in the order of their names."""
    files: list[Path] = []
    hidden: list[Path] = []
    unreadable: list[tuple[Path, OSError]] = []
    seen: set[str] = set()

    def note_unreadable(error: OSError) -> None:
        unreadable.append((Path(error.filename), error))

    for place, folders, names in os.walk(folder, onerror=note_unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        hidden += (Path(place, name) for name in folders if name.startswith("."))
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += (Path(place, name) for name in names)
    recordings: list[FoundRecording] = []
    strangers: list[Path] = []
    for file in sorted(files):
        is_hidden = file.name.startswith(".")
        if not _is_recording(file, trust_suffix=not is_hidden):
            strangers.append(file)
        elif is_hidden:
            hidden.append(file)
        else:
            recordings.append(
                FoundRecording(path=file, place=file.relative_to(folder), label=str(file))
            )
    return FoundRecordings(
        recordings=tuple(recordings), strangers=tuple(strangers), hidden=tuple(hidden),
        unreadable=tuple(unreadable),
    )  # fmt: skip


def _is_recording(file: Path, *, trust_suffix: bool) -> bool:
    """Whether a file of a folder is to be transcribed."""
    if not file.is_file():  # a pipe or a device must not be opened
        return False
    if trust_suffix and file.suffix.lower() in AUDIO_SUFFIXES:
        return True
    try:
        with file.open("rb", buffering=0) as opened:
            return is_recording(FileWindow(opened.fileno()))
    except OSError:
        return False


def _list_names(paths: Sequence[Path]) -> str:
    names = [f"{path.name}/" if path.is_dir() else path.name for path in paths[:_NAMES_SHOWN]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
