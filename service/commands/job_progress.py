"""Show a job's progress: a bar on a terminal, otherwise a line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from typing import Protocol

from service.client import Job, JobItem

LINE_SECONDS = 10.0
"""Shortest time between two lines without a terminal."""
_HOUR_SECONDS, _MINUTE_SECONDS = 3_600, 60


def describe(job: Job) -> str:
    """Return a job's state and progress in one line."""
    progress = job.progress
    parts = [f"{job.id}  {job.status:10}  {progress.items_done} of {progress.items_total} items"]
    if progress.items_failed:
        parts.append(f"{progress.items_failed} failed")
    if progress.items_canceled:
        parts.append(f"{progress.items_canceled} canceled")
    parts.append(_describe_audio(job))
    if job.queue_position:
        parts.append(f"{job.queue_position} items ahead")
    parts.append(f"until {job.expires_at:%Y-%m-%d %H:%MZ}")
    return ", ".join(parts)


def describe_in_list(job: Job, first: JobItem | None) -> str:
    """Return a job's time of submission, name, state and progress in one line.

    Args:
        job: the job.
        first: its first item; jobs have no names, so the item's name stands for it.
    """
    name = "-" if first is None else first.name or f"item {first.number}"
    more = job.progress.items_total - 1
    called = f"{name} and {more} more" if more > 0 else name
    return f"{job.created_at.astimezone():%Y-%m-%d %H:%M}  {called}  {describe(job)}"


def _describe_audio(job: Job) -> str:
    done, total = job.progress.audio_seconds_done, job.progress.audio_seconds_total
    return f"{_time(done)}{'' if total is None else f' of {_time(total)}'} of audio"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _MINUTE_SECONDS)
    hours, minutes = divmod(minutes, _HOUR_SECONDS // _MINUTE_SECONDS)
    return f"{hours}:{minutes:02}:{rest:02}"


class Bar(Protocol):
    """The parts of `tqdm` in use."""

    n: float
    total: float | None

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Set the text after the bar."""
        ...

    def refresh(self) -> object:
        """Redraw the bar."""
        ...

    def close(self) -> None:
        """Stop drawing; leave the bar on the screen."""
        ...


class JobProgressLines:
    """Shows one job's progress, by a bar or by lines."""

    def __init__(self, bar: Bar | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._bar = bar
        self._clock = clock
        self._last_line: tuple[int, float] | None = None  # (items done, time)

    def show(self, job: Job) -> None:
        """Show the job's current state."""
        if self._bar is not None:
            self._bar.total = job.progress.items_total
            self._bar.set_postfix_str(self._postfix(job), refresh=False)
            self._bar.n = job.progress.items_done
            self._bar.refresh()
            return
        done, now = job.progress.items_done, self._clock()
        if self._last_line is not None and (
            done == self._last_line[0]
            or (now - self._last_line[1] < LINE_SECONDS and not job.is_ended)
        ):
            return
        self._last_line = (done, now)
        sys.stderr.write(f"mt3: {describe(job)}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Stop drawing the bar, so that other lines may follow."""
        if self._bar is not None:
            self._bar.close()

    def _postfix(self, job: Job) -> str:
        failed = job.progress.items_failed
        return _describe_audio(job) + (f", {failed} failed" if failed else "")


@contextlib.contextmanager
def job_progress() -> Generator[JobProgressLines]:
    """Yield a display: a bar on a terminal if `tqdm` is installed, otherwise lines."""
    bar: Bar | None = None
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm  # noqa: PLC0415

            bar = tqdm(unit=" items", dynamic_ncols=True)
    shown = JobProgressLines(bar)
    try:
        yield shown
    finally:
        shown.close()
