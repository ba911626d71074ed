"""`mt3 transcribe --server`: recordings to a server, several in flight, results to files.

The server fills its batches with the segments of several recordings, so that sending one at a time
would leave its device idle between them. Neither a model nor anything heavy is imported: this road
works where the client alone is installed (the bar then needs `tqdm`, and is left out without).
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mt3_model.errors import OptionError
from service.client import (
    APIError,
    AsyncClient,
    ForbiddenError,
    MT3ClientError,
    Options,
    ResponseFormat,
    UnauthorizedError,
    UnexpectedAnswerError,
)
from service.commands.planning import Task, write_whole
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain

DEFAULT_JOBS = 4
"""Enough to keep two CPU cores' slots filled across the ends of recordings."""
MAX_JOBS = 256
"""A server opens 32 recordings by default, and refuses what is beyond; each is a connection."""
MAX_RETRIES = 10
"""A minute and a half of a server that restarts; where it says how long, ten times that."""


class Bar(Protocol):
    """What is needed of a progress bar."""

    def update(self, n: float = 1) -> bool | None:
        """Moves it on."""
        ...

    def refresh(self) -> object:
        """Draws it again, so that its clock runs."""
        ...

    def clear(self) -> None:
        """Takes it away until it is drawn again, to make room for a line."""
        ...


class _StopError(Exception):
    """What is true of one recording's refusal is true of all: going on is of no use."""

    def __init__(self, cause: MT3ClientError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def transcribe_there(parsed: argparse.Namespace, tasks: Sequence[Task], form: str) -> int:
    """Transcribes recordings by a server.

    Args:
        parsed: The command line.
        tasks: The recordings, and where their results go.
        form: Of the results.

    Returns:
        The exit code: 1 where some inputs failed.

    Raises:
        OptionError: The address, the key, or an option that the server refuses.
    """
    jobs = DEFAULT_JOBS if parsed.jobs is None else parsed.jobs
    if not 1 <= jobs <= MAX_JOBS:
        raise OptionError("jobs", f"--jobs is {jobs}; expected 1 to {MAX_JOBS}")
    form_name: ResponseFormat = form  # pyright: ignore[reportAssignmentType] - of the parser's choices
    options = Options(
        model=parsed.model, decoding=parsed.decoding, precision=parsed.precision,
        start=parsed.start or None, end=parsed.end,
    )  # fmt: skip
    try:
        client = AsyncClient(parsed.server, api_key=read_key(parsed), max_retries=MAX_RETRIES)
    except ValueError as error:
        raise OptionError("server", str(error)) from error
    with _progress_bar(len(tasks)) as bar:
        batch = _Batch(client, form_name, options, bar)
        return asyncio.run(batch.transcribe_all(tasks, jobs))


def read_key(parsed: argparse.Namespace) -> str | None:
    """Reads `--api-key-file`; none: not given.

    Raises:
        OptionError: It cannot be read, or is empty.
    """
    if parsed.api_key_file is None:
        return None
    return read_secret(parsed.api_key_file, option="api_key_file", what="a key")


def read_secret(path: Path, *, option: str, what: str) -> str:
    """Reads a file that holds one secret: on a command line, everybody could see it.

    Raises:
        OptionError: It cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise OptionError(option, f"{path}: {error}") from error
    if not secret:
        raise OptionError(option, f"{path} is empty; expected {what}")
    return secret


class _Batch:
    """The recordings of one command."""

    def __init__(
        self, client: AsyncClient, form: ResponseFormat, options: Options, bar: Bar | None
    ) -> None:
        self._client = client
        self._form: ResponseFormat = form
        self._options = options
        self._bar = bar
        self._failed = 0

    async def transcribe_all(self, tasks: Sequence[Task], jobs: int) -> int:
        """Transcribes them, so many at a time; returns the exit code."""
        async with self._client, self._clock():
            try:
                await self._reach_server()
            except MT3ClientError as error:
                stop: MT3ClientError | None = error
            else:
                stop = await self._share(iter(tasks), min(jobs, len(tasks)))
        if isinstance(stop, APIError) and stop.param is not None:
            raise OptionError(stop.param, stop.detail)
        if stop is not None:
            self._complain(str(stop))
        return EXIT_FAILED if self._failed or stop is not None else EXIT_DONE

    async def _reach_server(self) -> None:
        """A server that is not there is told at once; one that loads its model is waited for."""
        if not (await self._client.ready()).is_ready:
            await self._client.wait_until_ready()

    async def _share(self, tasks: Iterator[Task], workers: int) -> MT3ClientError | None:
        """Shares the tasks out; returns what ended them early, if something did."""
        stop: MT3ClientError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(tasks))
        except* _StopError as stopped:
            stop = next(e.cause for e in stopped.exceptions if isinstance(e, _StopError))
        return stop

    async def _work(self, tasks: Iterator[Task]) -> None:
        for task in tasks:
            try:
                content = await self._client.transcribe_to(task.source, self._form, **self._options)
                warnings = _warnings_of(content, self._form)
                await asyncio.to_thread(write_whole, content, task.target)
            except MT3ClientError as error:
                if _concerns_all(error):
                    raise _StopError(error) from error
                self._fail(task, error)
            except OSError as error:
                self._fail(task, error)
            else:
                for warning in warnings:
                    self._complain(f"{task.source}: warning: {warning}")
            if self._bar is not None:
                self._bar.update()

    def _fail(self, task: Task, error: Exception) -> None:
        self._failed += 1
        self._complain(f"{task.source}: {error}")

    def _complain(self, line: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        complain(line)

    @contextlib.asynccontextmanager
    async def _clock(self) -> AsyncGenerator[None]:
        """Lets the bar's clock run while a long recording is under way."""

        async def tick() -> None:
            while self._bar is not None:
                self._bar.refresh()
                await asyncio.sleep(1)

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()


def _concerns_all(error: MT3ClientError) -> bool:
    """Whether every other recording would be refused alike: the key, or an option."""
    return isinstance(error, UnauthorizedError | ForbiddenError) or (
        isinstance(error, APIError) and error.param is not None
    )


def _warnings_of(content: bytes, form: ResponseFormat) -> list[str]:
    """Return the warnings of a response in a format that has them.

    Raises:
        UnexpectedAnswerError: the response is not a transcription.
    """
    if form not in ("json", "jsonl"):
        return []
    head = content.partition(b"\n")[0] if form == "jsonl" else content
    try:
        return [str(warning["message"]) for warning in json.loads(head).get("warnings", [])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswerError(
            "the answer is not a transcription; is this an MT3 server?"
        ) from error


@contextlib.contextmanager
def _progress_bar(recordings: int) -> Generator[Bar | None]:
    """Recordings done, on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm  # noqa: PLC0415
    except ImportError:
        yield None
        return
    with tqdm(total=recordings, unit=" recordings", dynamic_ncols=True) as bar:
        yield bar
