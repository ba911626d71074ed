"""`mt3 transcribe --server`: recordings to a server, several in flight, results to files.

The server fills its batches with the segments of several recordings, so that sending one at a time
would leave its device idle between them. Neither a model nor anything heavy is imported: this road
works where the client alone is installed.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import cast

from mt3_model.errors import OptionError
from service.client import (
    APIError,
    AsyncClient,
    ForbiddenError,
    Job,
    JobFailedError,
    MT3ClientError,
    NotFoundError,
    Options,
    ResponseFormat,
    UnauthorizedError,
    UnexpectedAnswerError,
)
from service.commands.batch import Batch, write_results
from service.commands.result_files import OutputError
from service.commands.result_plan import Task
from service.commands.terminal import EXIT_DONE, EXIT_FAILED

DEFAULT_JOBS = 4
"""Enough to keep two CPU cores' slots filled across the ends of recordings."""
MAX_JOBS = 256
"""A server opens 32 recordings by default, and refuses what is beyond; each is a connection."""
MAX_RETRIES = 10
"""A minute and a half of a server that restarts; where it says how long, ten times that."""


class _StopError(Exception):
    """What is true of one recording's refusal is true of all: going on is of no use."""

    def __init__(self, cause: MT3ClientError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def transcribe_remotely(
    parsed: argparse.Namespace, server: str, batch: Batch, tasks: Sequence[Task]
) -> int:
    """Transcribes recordings by a server.

    Args:
        parsed: The command line.
        server: The server's address.
        batch: Shows and counts what becomes of them.
        tasks: The recordings, and where their results go.

    Returns:
        The exit code: 1 where something ended all of them early.

    Raises:
        OptionError: The address, the key, or an option that the server refuses.
    """
    jobs = DEFAULT_JOBS if parsed.jobs is None else parsed.jobs
    if not 1 <= jobs <= MAX_JOBS:
        raise OptionError("jobs", f"--jobs is {jobs}; expected 1 to {MAX_JOBS}")
    options = Options(
        model=parsed.model, decoding=parsed.decoding, precision=parsed.precision,
        start=parsed.start or None, end=parsed.end, audio_track=parsed.audio_track,
    )  # fmt: skip
    try:
        client = AsyncClient(server, api_key=read_key(parsed), max_retries=MAX_RETRIES)
    except ValueError as error:
        raise OptionError("server", str(error)) from error
    return asyncio.run(_Sending(client, options, batch).transcribe_all(tasks, jobs))


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


class _Sending:
    """The recordings of one command, on their way to a server and back."""

    def __init__(self, client: AsyncClient, options: Options, batch: Batch) -> None:
        self._client = client
        self._options = options
        self._batch = batch

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
            self._batch.complain(str(stop))
        return EXIT_DONE if stop is None else EXIT_FAILED

    async def _reach_server(self) -> None:
        """Fails at once where no server answers, and waits for one that loads its model."""
        if not (await self._client.ready()).is_ready:
            self._batch.say("waiting for the server, which is loading its model ...")
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
            self._batch.start(task)
            try:
                contents = await self._transcribe(task)
                warnings = _warnings_of(task, contents)
                await asyncio.to_thread(write_results, task, contents)
            except MT3ClientError as error:
                if _concerns_all(error):
                    raise _StopError(error) from error
                self._batch.fail(task, f"{task.label}: {error}")
            except OutputError as error:
                self._batch.fail(task, f"{error} (the result of {task.label})")
            except OSError as error:
                self._batch.fail(task, f"{task.label}: {error}")
            else:
                self._batch.count_written(task)
                for warning in warnings:
                    self._batch.complain(f"{task.label}: warning: {warning}")

    async def _transcribe(self, task: Task) -> list[bytes]:
        """A recording's results, one for each of its targets."""
        forms: list[ResponseFormat] = [_form_of(target.form) for target in task.targets]
        if len(forms) > 1:
            # One transcription and not several, where the server keeps jobs for this caller.
            with contextlib.suppress(NotFoundError, ForbiddenError):
                job = await self._client.submit([task.source], **self._options)
                return await self._results_of(job, forms)
        return [
            await self._client.transcribe_to(task.source, form, **self._options) for form in forms
        ]

    async def _results_of(self, job: Job, forms: Sequence[ResponseFormat]) -> list[bytes]:
        """Waits for a job of one recording; its result in several forms."""
        try:
            await self._client.wait(job.id)
            item = await self._client.item(job.id, 0)
            if item.status != "succeeded":
                failure = item.error
                raise JobFailedError(
                    item.status if failure is None else failure.message,
                    code=item.status if failure is None else failure.code, job_id=job.id,
                )  # fmt: skip
            return [await self._client.result_to(job.id, item.number, form) for form in forms]
        finally:
            await self._client.delete(job.id)

    @contextlib.asynccontextmanager
    async def _clock(self) -> AsyncGenerator[None]:
        """Lets the bar's clock run while a long recording is under way."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(1)
                self._batch.refresh()

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()


def _form_of(name: str) -> ResponseFormat:
    return cast("ResponseFormat", name)  # one of the parser's, which a test compares with these


def _concerns_all(error: MT3ClientError) -> bool:
    """Whether every other recording would be refused alike: the key, or an option."""
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return True
    # Another recording may have the audio track that this one has not.
    return (
        isinstance(error, APIError)
        and error.param is not None
        and error.code != "audio_track_not_found"
    )


def _warnings_of(task: Task, contents: Sequence[bytes]) -> list[str]:
    """Return the warnings of a result, from the first of its formats that has them.

    Raises:
        UnexpectedAnswerError: the response is not a transcription.
    """
    for target, content in zip(task.targets, contents, strict=True):
        if target.form not in ("json", "jsonl"):
            continue
        head = content.partition(b"\n")[0] if target.form == "jsonl" else content
        try:
            return [str(warning["message"]) for warning in json.loads(head).get("warnings", [])]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswerError(
                "the answer is not a transcription; is this an MT3 server?"
            ) from error
    return []
