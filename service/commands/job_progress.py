"""How far a job is, for people: a bar on a terminal, a line now and then in a pipe."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from typing import Protocol

from service.client import Job, JobItem

LINE_SECONDS = 10.0
"""Between two lines in a pipe."""
_HOUR_SECONDS, _MINUTE_SECONDS = 3_600, 60


def describe(job: Job) -> str:
    """Says in one line how a job is."""
    progress = job.progress
    parts = [f"{job.id}  {job.status:10}  {progress.items_done} of {progress.items_total} items"]
    if progress.items_failed:
        parts.append(f"{progress.items_failed} failed")
    if progress.items_canceled:
        parts.append(f"{progress.items_canceled} canceled")
    parts.append(_describe_audio(job))
    if job.queue_position:
        parts.append(f"{job.queue_position} items before it")
    parts.append(f"until {job.expires_at:%Y-%m-%d %H:%MZ}")
    return ", ".join(parts)


def describe_in_list(job: Job, first: JobItem | None) -> str:
    """Says in one line when a job was submitted, what it is called and how it is.

    Args:
        job: The job.
        first: Its first item, whose name is the job's here; jobs have none of their own.
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
    """What is needed of `tqdm`."""

    n: float
    total: float | None

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Says something after the bar."""
        ...

    def refresh(self) -> object:
        """Draws it again."""
        ...

    def close(self) -> None:
        """Leaves it as it is."""
        ...


class JobProgressLines:
    """Shows one job's progress; a bar where there is one to draw."""

    def __init__(self, bar: Bar | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._bar = bar
        self._clock = clock
        self._said: tuple[int, float] | None = None

    def show(self, job: Job) -> None:
        """Shows it as it is now."""
        if self._bar is not None:
            self._bar.total = job.progress.items_total
            self._bar.set_postfix_str(self._postfix(job), refresh=False)
            self._bar.n = job.progress.items_done
            self._bar.refresh()
            return
        done, now = job.progress.items_done, self._clock()
        if self._said is not None and (
            done == self._said[0] or (now - self._said[1] < LINE_SECONDS and not job.is_ended)
        ):
            return
        self._said = (done, now)
        sys.stderr.write(f"mt3: {describe(job)}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leaves the bar as it is, and the line after it to others."""
        if self._bar is not None:
            self._bar.close()

    def _postfix(self, job: Job) -> str:
        failed = job.progress.items_failed
        return _describe_audio(job) + (f", {failed} failed" if failed else "")


@contextlib.contextmanager
def job_progress() -> Generator[JobProgressLines]:
    """A bar on a terminal, if `tqdm` is installed (the client alone has none), else lines."""
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
