"""`mt3 transcribe --server`: send recordings to a server, several at a time; write the results.

Several recordings are in flight because the server fills its batches with segments of all of them;
one at a time would leave its device idle between recordings. The module needs only the client: no
model, no heavy import.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
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
    TranscriptionWarning,
    UnauthorizedError,
    UnexpectedAnswerError,
)
from service.commands.batch import Batch, write_results
from service.commands.option_names import name_options
from service.commands.recording_search import require_content
from service.commands.result_files import OutputError
from service.commands.result_plan import Task
from service.commands.shared_options import rhythm_options_of
from service.commands.terminal import EXIT_DONE, EXIT_FAILED

DEFAULT_JOBS = 4
"""Enough to keep the slots of two CPU cores filled while recordings end and others start."""
MAX_JOBS = 256
"""Each is a connection, and a server opens 32 recordings at a time by default."""
MAX_RETRIES = 10
"""Enough for a server that restarts for a minute and a half; longer if it sends `Retry-After`."""


class _StopError(Exception):
    """The server refused one recording for a reason that holds for all of them."""

    def __init__(self, cause: MT3ClientError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def transcribe_remotely(
    parsed: argparse.Namespace, server: str, batch: Batch, tasks: Sequence[Task]
) -> int:
    """Transcribe recordings on a server.

    Args:
        parsed: the command line.
        server: the server's address.
        batch: the display and the counts of written and failed recordings.
        tasks: the recordings and the paths of their results.

    Returns:
        The exit code: 1 if an error stopped the whole batch.

    Raises:
        OptionError: the address or the key is unusable, or the server rejects an option.
    """
    jobs = DEFAULT_JOBS if parsed.jobs is None else parsed.jobs
    if not 1 <= jobs <= MAX_JOBS:
        raise OptionError("jobs", f"--jobs is {jobs}; expected 1 to {MAX_JOBS}")
    options = Options(
        model=parsed.model, decoding=parsed.decoding, precision=parsed.precision,
        start=parsed.start or None, end=parsed.end, audio_track=parsed.audio_track,
        postprocess=parsed.postprocess, instruments=parsed.instruments,
        quality=parsed.quality,
        quantize=parsed.quantize, **rhythm_options_of(parsed),
    )  # fmt: skip
    try:
        client = AsyncClient(server, api_key=read_key(parsed), max_retries=MAX_RETRIES)
    except ValueError as error:
        raise OptionError("server", str(error)) from error
    return asyncio.run(_RemoteBatch(client, options, batch).transcribe_all(tasks, jobs))


def read_key(parsed: argparse.Namespace) -> str | None:
    """Return the key in `--api-key-file`, or None without that option.

    Raises:
        OptionError: the file cannot be read or is empty.
    """
    if parsed.api_key_file is None:
        return None
    return read_secret(parsed.api_key_file, option="api_key_file", what="a key")


def read_secret(path: Path, *, option: str, what: str) -> str:
    """Return the secret in a file; as an argument, it would appear in the list of processes.

    Args:
        path: a text file with nothing but the secret.
        option: the option's name, for the error.
        what: the kind of secret, for the error: "a key".

    Raises:
        OptionError: the file cannot be read or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OptionError(option, f"{path}: {reason or error}") from error
    if not secret:
        raise OptionError(option, f"{path} is empty; expected {what}")
    return secret


class _RemoteBatch:
    """The recordings of one command, transcribed by a server."""

    def __init__(self, client: AsyncClient, options: Options, batch: Batch) -> None:
        self._client = client
        self._options = options
        self._batch = batch

    async def transcribe_all(self, tasks: Sequence[Task], jobs: int) -> int:
        """Transcribe the recordings, ``jobs`` at a time; return the exit code."""
        async with self._client, self._bar_refreshed():
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
        """Check that the server responds, and wait until its model is loaded."""
        if not (await self._client.ready()).is_ready:
            self._batch.say("waiting for the server, which is loading its model ...")
            await self._client.wait_until_ready()

    async def _share(self, tasks: Iterator[Task], workers: int) -> MT3ClientError | None:
        """Run the tasks in ``workers`` coroutines; return the error that stopped them, or None."""
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
                require_content(task.source)
                contents, announced = await self._transcribe(task)
                warnings = _warnings_in(task, contents) or announced
                await asyncio.to_thread(write_results, task, contents)
            except MT3ClientError as error:
                if _concerns_all(error):
                    raise _StopError(error) from error
                self._batch.fail(task, f"{task.label}: {error}")
            except OutputError as error:
                self._batch.fail(task, f"{error} (the result of {task.label})")
            except OSError as error:
                self._batch.fail(task, f"{task.label}: {error.strerror or error}")
            else:
                self._batch.count_written(task)
                for warning in warnings:
                    self._batch.complain(f"{task.label}: warning: {name_options(warning)}")

    async def _transcribe(self, task: Task) -> tuple[list[bytes], list[str]]:
        """Return a recording's results, one for each of its targets, and its warnings."""
        forms: list[ResponseFormat] = [_form_of(target.form) for target in task.targets]
        if len(forms) > 1:
            # A job transcribes once for all formats; not every server or key allows jobs.
            with contextlib.suppress(NotFoundError, ForbiddenError):
                job = await self._client.submit([task.source], **self._options)
                return await self._results_of(job, forms)
        announced: list[TranscriptionWarning] = []
        contents = [
            await self._client.transcribe_to(
                task.source, form, on_warning=announced.append, **self._options
            )
            for form in forms
        ]
        return contents, _messages_of(announced)

    async def _results_of(
        self, job: Job, forms: Sequence[ResponseFormat]
    ) -> tuple[list[bytes], list[str]]:
        """Wait for a job of one recording; return its result in each format, and its warnings."""
        try:
            await self._client.wait(job.id)
            item = await self._client.item(job.id, 0)
            if item.status != "succeeded":
                failure = item.error
                raise JobFailedError(
                    item.status if failure is None else failure.message,
                    code=item.status if failure is None else failure.code, job_id=job.id,
                )  # fmt: skip
            contents = [await self._client.result_to(job.id, item.number, form) for form in forms]
            return contents, _messages_of(item.warnings)
        finally:
            await self._client.delete(job.id)

    @contextlib.asynccontextmanager
    async def _bar_refreshed(self) -> AsyncGenerator[None]:
        """Redraw the bar every second, so that its elapsed time advances."""

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
    # The parser has checked it; a test compares the parser's names with the client's.
    return cast("ResponseFormat", name)


def _concerns_all(error: MT3ClientError) -> bool:
    """Whether the server would reject every other recording too: a wrong key or option."""
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return True
    # Another recording may have the audio track that this one lacks.
    return (
        isinstance(error, APIError)
        and error.param is not None
        and error.code != "audio_track_not_found"
    )


def _messages_of(warnings: Iterable[TranscriptionWarning]) -> list[str]:
    """Return each message once: every format of a recording has the same warnings."""
    return list(dict.fromkeys(warning.message for warning in warnings))


def _warnings_in(task: Task, contents: Sequence[bytes]) -> list[str]:
    """Return the warnings in a result's JSON, which has all of them; none without a JSON format.

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
