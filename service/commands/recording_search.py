"""Find the recordings that command-line inputs name, and list the files that were skipped.

A file given by name is used as it is. A folder is searched: a file with an audio suffix is a
recording, and so is any other file whose first bytes are those of an audio format
(`mt3_model/audio/structure/containers.py`). A recording found twice (through a link, a relative
path, or both its folder and its name) is listed once. The module needs only the client.
"""

import dataclasses
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.containers import is_recording
from mt3_model.errors import OptionError

AUDIO_SUFFIXES = frozenset(
    {
        ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
        ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg",
        ".oga", ".ogg", ".opus", ".ts", ".tta", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma",
        ".wv",
    }
)  # fmt: skip
"""Files with these suffixes count as recordings, whatever their content."""
_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecording:
    """One recording to read."""

    path: Path
    relative_path: Path
    """The file's name; in a searched folder, the path below that folder."""
    label: str
    """The name in messages."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecordings:
    """The recordings that the inputs name."""

    recordings: tuple[FoundRecording, ...]
    is_searched: bool = False
    """Whether a folder was searched."""
    other_files: tuple[Path, ...] = ()
    """Files in searched folders that are not recordings."""
    hidden: tuple[Path, ...] = ()
    """Recordings and folders in searched folders whose names begin with a dot: skipped."""
    unreadable: tuple[tuple[Path, OSError], ...] = ()
    """Folders that could not be searched."""

    @property
    def is_single(self) -> bool:
        """Whether there is one recording, given by its file name."""
        return len(self.recordings) == 1 and not self.is_searched

    def describe_skipped(self, results: Iterable[Path] = ()) -> list[str]:
        """Return a line for each kind of file that was skipped.

        Args:
            results: paths of this command's own results, which are not mentioned.
        """
        own = {os.path.realpath(path) for path in results}
        others = [path for path in self.other_files if os.path.realpath(path) not in own]
        lines: list[str] = []
        if others:
            kind = (
                "file that is not a recording"
                if len(others) == 1
                else "files that are not recordings"
            )
            lines.append(f"skipped {len(others)} {kind}: {_list_names(others)}")
        if self.hidden:
            lines.append(f"skipped {len(self.hidden)} hidden: {_list_names(self.hidden)}")
        return lines


def expand_globs(inputs: Sequence[str | Path]) -> list[Path]:
    """Expand the patterns that the shell left alone (quoted ones).

    Raises:
        OptionError: a pattern matches nothing.
    """
    expanded: list[Path] = []
    for name in map(str, inputs):
        if not name:  # a path would take it for the current folder
            raise OptionError("inputs", "an input is empty; expected a file, a folder or a glob")
        if os.path.lexists(name) or not glob.has_magic(name):
            expanded.append(Path(name))
            continue
        # `Path.glob` takes relative patterns only.
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        if not matches:
            raise OptionError("inputs", f"nothing matches {name}")
        expanded += map(Path, matches)
    return expanded


def find_recordings(inputs: Sequence[Path]) -> FoundRecordings:
    """List the recordings among files and in folders, each once.

    Raises:
        OptionError: a folder has no recording.
    """
    found: dict[str, FoundRecording] = {}
    other_files: list[Path] = []
    hidden: list[Path] = []
    unreadable: list[tuple[Path, OSError]] = []
    for path in inputs:
        if not path.is_dir():
            recordings = [FoundRecording(path=path, relative_path=Path(path.name), label=str(path))]
        else:
            searched = _search(path)
            if not (searched.recordings or searched.unreadable):
                raise OptionError("inputs", f"there is no audio file in the folder {path}")
            recordings = searched.recordings
            other_files += searched.other_files
            hidden += searched.hidden
            unreadable += searched.unreadable
        for recording in recordings:
            found.setdefault(os.path.realpath(recording.path), recording)
    return FoundRecordings(
        recordings=tuple(found.values()), is_searched=any(path.is_dir() for path in inputs),
        other_files=tuple(dict.fromkeys(other_files)),
        hidden=tuple(dict.fromkeys(hidden)), unreadable=tuple(unreadable),
    )  # fmt: skip


def _search(folder: Path) -> FoundRecordings:
    """Search a folder and its subfolders; sort by path."""
    files: list[Path] = []
    hidden: list[Path] = []
    unreadable: list[tuple[Path, OSError]] = []
    seen: set[str] = set()

    def note_unreadable(error: OSError) -> None:
        unreadable.append((Path(error.filename), error))

    for place, folders, names in os.walk(folder, onerror=note_unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        hidden += (Path(place, name) for name in folders if name.startswith("."))
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += (Path(place, name) for name in names)
    recordings: list[FoundRecording] = []
    other_files: list[Path] = []
    for file in sorted(files):
        is_hidden = file.name.startswith(".")
        if not _is_recording(file, trust_suffix=not is_hidden):
            other_files.append(file)
        elif is_hidden:
            hidden.append(file)
        else:
            recordings.append(
                FoundRecording(path=file, relative_path=file.relative_to(folder), label=str(file))
            )
    return FoundRecordings(
        recordings=tuple(recordings), other_files=tuple(other_files), hidden=tuple(hidden),
        unreadable=tuple(unreadable),
    )  # fmt: skip


def _is_recording(file: Path, *, trust_suffix: bool) -> bool:
    """Whether a file in a searched folder is a recording."""
    if not file.is_file():  # opening a pipe or a device could block
        return False
    if trust_suffix and file.suffix.lower() in AUDIO_SUFFIXES:
        return True
    try:
        with file.open("rb", buffering=0) as opened:
            return is_recording(FileWindow(opened.fileno()))
    except OSError:
        return False


def require_content(path: Path) -> None:
    """Check that a path can be sent as a recording.

    Raises:
        OSError: the path is missing, unreadable, not a file, or empty.
    """
    if path.exists() and not path.is_file():
        raise OSError("this is not a file; expected a recording")
    with path.open("rb") as file:
        if not file.read(1):
            raise OSError("the file is empty")


def _list_names(paths: Sequence[Path]) -> str:
    names = [f"{path.name}/" if path.is_dir() else path.name for path in paths[:_NAMES_SHOWN]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
