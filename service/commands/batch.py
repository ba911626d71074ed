"""Progress, errors and summary of `mt3 transcribe`, on standard error.

One progress bar covers all recordings. It is drawn only on a terminal, and only if `tqdm` is
installed (the client does not need it). It counts bytes: file sizes are known before a
recording is opened and are closer to its length than the number of files.
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
    """Display and counts of one command's recordings.

    A context manager: on exit it closes the bar and writes the summary.
    """

    def __init__(self, plan: Plan) -> None:
        """Initialize the counts; nothing is shown yet.

        Args:
            plan: the command's tasks.
        """
        self._done = plan.done
        self._total = len(plan.tasks)
        self._tasks = plan.tasks
        self._written = 0
        self._failed = 0
        self._is_several = len(plan.tasks) + len(plan.done) > 1
        self._bar: tqdm[Any] | None = None
        self._sizes = {task.source: _size_of(task.source) for task in plan.tasks}
        self._shown: dict[Path, float] = {}

    @property
    def has_failed(self) -> bool:
        """Whether a recording has no result."""
        return self._failed > 0

    @property
    def is_talkative(self) -> bool:
        """Whether progress messages are written: on a terminal, or for several recordings."""
        return self._is_several or sys.stderr.isatty()

    def begin(self) -> tuple[Task, ...]:
        """Report existing results and unwritable targets; return the tasks left to do."""
        if self._done and not self._is_several:
            where = describe_target(self._done[0].targets[0].path)
            complain(f"{where} already exists (--overwrite writes it again)")
        elif self._done:
            exist = "exists" if len(self._done) == 1 else "exist"
            complain(
                f"{len(self._done)} already {exist}, {self._total} to do (--overwrite does all"
                " again)"
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
        """Show which recording is being transcribed; the first one opens the bar."""
        if self._bar is None and sys.stderr.isatty():
            self._bar = _open_bar(sum(self._sizes.values()))
            if self._bar is not None:
                self._bar.update(sum(self._shown.values()))
        if self._bar is not None:
            number = min(self._written + self._failed + 1, self._total)
            self._bar.set_description_str(f"[{number}/{self._total}] {_shorten(task.source.name)}")

    def advance(self, task: Task, fraction: float) -> None:
        """Show the part of a recording that is done, 0 to 1."""
        size = self._sizes[task.source]
        now = size * min(fraction, 1.0)
        gained = now - self._shown.get(task.source, 0.0)
        self._shown[task.source] = now
        if self._bar is not None and gained > 0:
            self._bar.update(gained)

    def refresh(self) -> None:
        """Redraw the bar, so that its elapsed time advances."""
        if self._bar is not None:
            self._bar.refresh()

    def say(self, line: str) -> None:
        """Write a message if progress is shown."""
        if self.is_talkative:
            self.complain(line)

    def complain(self, line: str) -> None:
        """Write a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        complain(line)
        self.refresh()

    def fail(self, task: Task, message: str) -> None:
        """Count a failed recording and write why."""
        self._failed += 1
        self.advance(task, 1.0)
        self.complain(name_options(message))

    def count_written(self, task: Task) -> None:
        """Count a recording whose results are written."""
        self._written += 1
        self.advance(task, 1.0)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar and write how many recordings were written, failed, skipped or not done."""
        if self._bar is not None:
            self._bar.close()
        has_begun = self._written or self._failed or self._done
        was_stopped = kind is not None and not issubclass(kind, KeyboardInterrupt)
        if self._is_several and has_begun and not was_stopped:
            complain(self._summary())

    def _summary(self) -> str:
        counts = (
            (self._written, "written"), (self._failed, "failed"), (len(self._done), "skipped"),
            (self._total - self._written - self._failed, "not done"),
        )  # fmt: skip
        return ", ".join(f"{n} {word}" for n, word in counts if n or word == "written")


def write_results(task: Task, contents: Sequence[bytes]) -> None:
    """Write a recording's results, one for each of its targets.

    Raises:
        OutputError: a result cannot be written.
    """
    for target, content in zip(task.targets, contents, strict=True):
        write_whole(content, target.path)


def _open_bar(total: float) -> "tqdm[Any] | None":
    with contextlib.suppress(ImportError):
        from tqdm import tqdm  # noqa: PLC0415

        # smoothing=0: the average speed so far predicts hours better than the latest speed.
        return tqdm(total=total, bar_format=_BAR_FORMAT, smoothing=0, dynamic_ncols=True)
    return None


def _size_of(path: Path) -> int:
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
