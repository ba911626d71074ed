"""Plan `mt3 transcribe`: which recordings are read, and where each result is written.

The local model and a server use the same plan, so a result has the same name either way. The module
needs only the client, and imports nothing heavy.
"""

import argparse
import dataclasses
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mt3_model.errors import OptionError
from service.commands.recording_search import FoundRecording, FoundRecordings
from service.commands.result_files import MAX_NAME_BYTES, describe_target, is_complete

FORMAT_SUFFIXES = {
    "midi": ".mid",
    "json": ".json",
    "jsonl": ".jsonl",
    "notesequence": ".pb",
    "notesequence_json": ".notesequence.json",
    "piano_roll": ".png",
    "piano_roll_svg": ".svg",
    "musicxml": ".musicxml",
    "score_pdf": ".pdf",
}
"""`ExportFormat`'s values and suffixes, repeated here to avoid a heavy import; a test compares
them."""
_FURTHER_SUFFIXES = {".midi": "midi"}
"""Other suffixes in use."""
_FORMAT_WORDS = {
    **{name: name for name in FORMAT_SUFFIXES},
    **{suffix.removeprefix("."): name for name, suffix in FORMAT_SUFFIXES.items()},
}
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,11}$|\.[0-9]+[A-Za-z][A-Za-z0-9]{0,9}$")
"""A file's suffix: ``song.7z`` has one, ``take.2`` and ``No. 5`` have none."""
STANDARD_STREAM = "-"
"""Standard input among the inputs; standard output as the output."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One result of a recording."""

    form: str
    """The name of its format."""
    path: Path | None
    """None for standard output."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One recording to transcribe, with the targets of its results."""

    source: Path
    label: str
    """The recording's name in messages."""
    targets: tuple[Target, ...]
    """One for each format."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The tasks of one command."""

    tasks: tuple[Task, ...]
    """Tasks to do."""
    done: tuple[Task, ...] = ()
    """Tasks whose results exist already."""

    @property
    def result_paths(self) -> tuple[Path, ...]:
        """Paths of all results."""
        return tuple(
            target.path
            for task in (*self.tasks, *self.done)
            for target in task.targets
            if target.path is not None
        )


def parse_formats(text: str) -> list[str]:
    """Parse ``midi`` or ``midi,png``: names or file suffixes of formats.

    Raises:
        argparse.ArgumentTypeError: a format is unknown.
    """
    names: list[str] = []
    for word in text.split(","):
        name = _FORMAT_WORDS.get(word.strip().lower().removeprefix("."))
        if name is None:
            raise argparse.ArgumentTypeError(
                f"unknown format {word!r}; expected {', '.join(FORMAT_SUFFIXES)}, or several with"
                " commas between them"
            )
        names.append(name)
    return names


def parse_format(text: str) -> str:
    """Parse a single format, as `parse_formats` does.

    Raises:
        argparse.ArgumentTypeError: it is unknown, or there are several.
    """
    names = parse_formats(text)
    if len(names) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} are several formats; expected one")
    return names[0]


def choose_formats(
    given: Sequence[str] | None, output: str, found: FoundRecordings
) -> tuple[str, ...]:
    """Return the formats to write: those given, else the one that the output's suffix names.

    Raises:
        OptionError: the suffix is unknown or contradicts the given format, or several results
            would go to standard output.
    """
    forms = tuple(dict.fromkeys(given or ()))
    several = not found.is_single or len(forms) > 1
    if output == STANDARD_STREAM:
        if several:
            raise OptionError(
                "output", "standard output takes one result; expected a folder for several"
            )
        return forms or ("midi",)
    if is_folder_name(output):
        return forms or ("midi",)
    named = format_of(output)
    if several and named is not None:
        raise OptionError(
            "output",
            f"{output} is or names a file; expected a folder for several results",
        )
    if several:
        return forms or ("midi",)
    suffix = _SUFFIX.search(Path(output).name)
    if named is None and suffix is not None and not _is_device(output):
        raise OptionError(
            "output",
            f"{output} has the suffix {suffix[0]}, which names no format; expected one of"
            f" {', '.join(FORMAT_SUFFIXES.values())}, or no suffix, or a folder ending with /",
        )
    if forms and named is not None and not _may_be_called(forms[0], output, named):
        raise OptionError(
            "format",
            f"format is {forms[0]}, but {output} is the name of a {named} file; expected the"
            f" suffix {FORMAT_SUFFIXES[forms[0]]}, or no --format",
        )
    return forms or (named or "midi",)


def plan_tasks(
    found: FoundRecordings,
    output: str,
    forms: Sequence[str],
    *,
    overwrite: bool = False,
) -> Plan:
    """Plan the tasks.

    The single result of a single recording is ``output`` itself, unless that is a folder. With
    several results, or a folder among the inputs, ``output`` is a folder: results are named after
    their recordings and keep their path below the searched folder. Recordings that differ only in
    their suffix keep it: ``song.wav.mid``.

    Args:
        found: the recordings.
        output: a file, a folder or ``-``.
        forms: the formats of the results.
        overwrite: also transcribe recordings whose results exist.

    Raises:
        OptionError: ``output`` is or names a file, but a folder is needed, or two recordings
            would have the same result.
    """
    if not output:
        raise OptionError("output", "output is empty; expected a file, a folder or -")
    recordings = found.recordings
    single = found.is_single and len(forms) == 1
    if output == STANDARD_STREAM:
        tasks = [_task_of(recordings[0], [Target(form=forms[0], path=None)])]
    elif single and not is_folder_name(output):
        tasks = [_task_of(recordings[0], [Target(form=forms[0], path=Path(output))])]
    else:
        tasks = _tasks_into(_require_folder(output), recordings, forms)
    if overwrite:
        return Plan(tasks=tuple(tasks))
    left = [
        dataclasses.replace(task, targets=missing)
        for task in tasks
        if (missing := tuple(t for t in task.targets if not is_complete(t.path)))
    ]
    done = [task for task in tasks if all(is_complete(t.path) for t in task.targets)]
    return Plan(tasks=tuple(left), done=tuple(done))


def name_results(recordings: Sequence[Path], suffix: str) -> list[Path]:
    """Name results after their recordings; those that differ only in their suffix keep it."""
    # Compared without case, as some file systems do.
    stems = Counter(_fold(path) for path in recordings)
    return [
        path.with_name(fit_name(path.name if stems[_fold(path)] > 1 else path.stem, suffix))
        for path in recordings
    ]


def fit_name(stem: str, suffix: str) -> str:
    """Return a file name within the file system's limit; a long one ends in a digest.

    Names are measured as the file system's bytes: those of old archives need not be UTF-8.
    """
    encoded = os.fsencode(stem)
    if len(encoded) + len(suffix) <= MAX_NAME_BYTES:
        return stem + suffix
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    room = MAX_NAME_BYTES - len(suffix) - len(digest) - 1
    return f"{encoded[:room].decode(errors='ignore')}~{digest}{suffix}"


def format_of(output: str) -> str | None:
    """Return the format that a file's suffix names, or None."""
    name = Path(output).name.lower()
    suffixes = {**{suffix: form for form, suffix in FORMAT_SUFFIXES.items()}, **_FURTHER_SUFFIXES}
    longest_first = sorted(suffixes, key=len, reverse=True)
    return next((suffixes[suffix] for suffix in longest_first if name.endswith(suffix)), None)


def is_folder_name(output: str) -> bool:
    """Whether an output is an existing folder, or ends with a slash."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _may_be_called(form: str, output: str, named: str) -> bool:
    """Whether a suffix fits a format: ``.json`` fits note-seq's JSON too."""
    return form == named or (form == "notesequence_json" and output.lower().endswith(".json"))


def _is_device(output: str) -> bool:
    path = Path(output)
    return path.exists() and not path.is_file()


def _require_folder(output: str) -> Path:
    folder = Path(output)
    if not folder.is_dir() and (
        os.path.lexists(folder) or (format_of(output) and not is_folder_name(output))
    ):
        raise OptionError(
            "output", f"{output} is or names a file; expected a folder for several results"
        )
    return folder


def _task_of(recording: FoundRecording, targets: Sequence[Target]) -> Task:
    return Task(source=recording.path, label=recording.label, targets=tuple(targets))


def _tasks_into(
    folder: Path, recordings: Sequence[FoundRecording], forms: Sequence[str]
) -> list[Task]:
    paths = [recording.relative_path for recording in recordings]
    named = {form: name_results(paths, FORMAT_SUFFIXES[form]) for form in forms}
    tasks = [
        _task_of(
            recording, [Target(form=form, path=folder / named[form][number]) for form in forms]
        )
        for number, recording in enumerate(recordings)
    ]
    written: dict[Path | None, Task] = {}
    for task in tasks:
        for target in task.targets:
            other = written.setdefault(target.path, task)
            if other is not task:
                raise OptionError(
                    "inputs",
                    f"{other.label} and {task.label} would both be written to"
                    f" {describe_target(target.path)}; name the folder above them, or transcribe"
                    " them one after the other into two folders",
                )
    return tasks


def _fold(path: Path) -> str:
    return str(path.with_suffix("")).casefold()
