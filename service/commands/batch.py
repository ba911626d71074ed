"""What `mt3 transcribe` shows of its recordings: one bar over all of them, complaints, a summary.

The same for both roads. Everything goes to standard error. The bar is drawn on a terminal only,
and only where `tqdm` is installed (the client alone has none). It measures bytes, because they are
known before a recording is opened, and follow its length better than a count of files does.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from service.commands.option_names import name_options
from service.commands.result_files import (
    OutputError,
    describe_target,
    require_writable,
    write_whole,
)
from service.commands.result_plan import Plan, Task
from service.commands.terminal import complain

if TYPE_CHECKING:
    from tqdm import tqdm

_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
_NAME_WIDTH = 32


class Batch:
    """The recordings of one command: what became of them, and what is shown meanwhile.

    A context: at its end the bar is closed and the summary written.
    """

    def __init__(self, plan: Plan) -> None:
        """Takes over what is to do and what is there."""
        self._there = plan.there
        self._total = len(plan.tasks)
        self._tasks = plan.tasks
        self._written = 0
        self._failed = 0
        self._is_several = len(plan.tasks) + len(plan.there) > 1
        self._bar: tqdm[Any] | None = None
        self._sizes = {task.source: _size_of(task.source) for task in plan.tasks}
        self._shown: dict[Path, float] = {}

    @property
    def has_failed(self) -> bool:
        """Whether a recording has no result."""
        return self._failed > 0

    @property
    def is_talkative(self) -> bool:
        """Whether more is said than what went wrong: not of one recording in a pipe."""
        return self._is_several or sys.stderr.isatty()

    def begin(self) -> tuple[Task, ...]:
        """Says what is there already, and fails what could not be written; returns the rest."""
        if self._there and not self._is_several:
            where = describe_target(self._there[0].targets[0].path)
            complain(f"{where} is there already (--overwrite writes it again)")
        elif self._there:
            were = "was" if len(self._there) == 1 else "were"
            complain(
                f"{len(self._there)} {were} there, {self._total} to do (--overwrite does all again)"
            )
        writable: list[Task] = []
        for task in self._tasks:
            try:
                for target in task.targets:
                    require_writable(target.path)
            except OutputError as error:
                self.fail(task, str(error))
            else:
                writable.append(task)
        return tuple(writable)

    def start(self, task: Task) -> None:
        """Shows that a recording is being transcribed; the first one opens the bar."""
        if self._bar is None and sys.stderr.isatty():
            self._bar = _open_bar(sum(self._sizes.values()))
            if self._bar is not None:
                self._bar.update(sum(self._shown.values()))
        if self._bar is not None:
            number = min(self._written + self._failed + 1, self._total)
            self._bar.set_description_str(f"[{number}/{self._total}] {_shorten(task.source.name)}")

    def advance(self, task: Task, fraction: float) -> None:
        """Shows how much of a recording is done."""
        size = self._sizes[task.source]
        now = size * min(fraction, 1.0)
        gained = now - self._shown.get(task.source, 0.0)
        self._shown[task.source] = now
        if self._bar is not None and gained > 0:
            self._bar.update(gained)

    def refresh(self) -> None:
        """Draws the bar again, so that its clock runs."""
        if self._bar is not None:
            self._bar.refresh()

    def say(self, line: str) -> None:
        """Says what goes on, unless it is to be quiet."""
        if self.is_talkative:
            self.complain(line)

    def complain(self, line: str) -> None:
        """Writes a line, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        complain(line)
        self.refresh()

    def fail(self, task: Task, message: str) -> None:
        """Counts a recording without result, and says why."""
        self._failed += 1
        self.advance(task, 1.0)
        self.complain(name_options(message))

    def count_written(self, task: Task) -> None:
        """Counts a recording whose results are written."""
        self._written += 1
        self.advance(task, 1.0)

    def __enter__(self) -> Self:
        """Begins; nothing is shown yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the bar, and says how many were written, failed, skipped or not done."""
        if self._bar is not None:
            self._bar.close()
        has_begun = self._written or self._failed or self._there
        was_stopped = kind is not None and not issubclass(kind, KeyboardInterrupt)
        if self._is_several and has_begun and not was_stopped:
            complain(self._summary())

    def _summary(self) -> str:
        counts = (
            (self._written, "written"), (self._failed, "failed"), (len(self._there), "skipped"),
            (self._total - self._written - self._failed, "not done"),
        )  # fmt: skip
        return ", ".join(f"{n} {word}" for n, word in counts if n or word == "written")


def write_results(task: Task, contents: Sequence[bytes]) -> None:
    """Writes a recording's results, one for each of its targets.

    Raises:
        OutputError: One of them cannot be written.
    """
    for target, content in zip(task.targets, contents, strict=True):
        write_whole(content, target.path)


def _open_bar(total: float) -> "tqdm[Any] | None":
    with contextlib.suppress(ImportError):
        from tqdm import tqdm  # noqa: PLC0415

        # The average of all so far: the speed of one moment says little about hours.
        return tqdm(total=total, bar_format=_BAR_FORMAT, smoothing=0, dynamic_ncols=True)
    return None


def _size_of(path: Path) -> int:
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
