"""`mt3 jobs`: submit jobs to a server, watch them, fetch their results.

The module needs only the client. Standard output is for scripts: the ids of submitted jobs, or
with `--json` the server's objects, one per line. Everything else goes to standard error.

Exit codes: 0 all done, 1 something failed or is not done, 2 wrong usage, 3 submitted without some
of the inputs; messages name each failure.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Generator, Sequence
from datetime import datetime

from mt3_model.errors import OptionError
from service.client import (
    APIError,
    AsyncClient,
    Client,
    Job,
    JobItem,
    MT3ClientError,
    NotFoundError,
)  # fmt: skip
from service.commands.job_fetching import fetch_results
from service.commands.job_progress import JobProgressLines, describe, describe_in_list, job_progress
from service.commands.job_submission import plan_submissions, submit_one
from service.commands.server_address import DEFAULT_SERVER, find_server
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, EXIT_LEFT_OUT, complain, say
from service.commands.transcribe_remote import MAX_RETRIES, read_key


def jobs(parsed: argparse.Namespace) -> int:
    """Run one action; return the exit code.

    Raises:
        OptionError: the options contradict each other, or the server rejects one.
        OSError: a file cannot be read or written.
    """
    actions = {
        "submit": _submit, "status": _status, "list": _list, "wait": _wait, "fetch": _fetch,
        "cancel": _change, "retry": _change, "delete": _delete,
    }  # fmt: skip
    parsed.server = find_server(parsed) or DEFAULT_SERVER
    try:
        return actions[parsed.action](parsed)
    except _NoSuchJobError as error:
        complain(
            f"{error}: there is no such job on {parsed.server}; expected an id that `mt3 jobs"
            " submit` printed (`mt3 jobs list` shows your jobs)"
        )
    except APIError as error:
        if error.param is not None:
            raise OptionError(error.param, error.detail) from error
        complain(str(error))
    except MT3ClientError as error:
        complain(str(error))
    except ValueError as error:
        raise OptionError("jobs", str(error)) from error
    return EXIT_FAILED


class _NoSuchJobError(Exception):
    """The server has no job of this id (or does not show it to this caller)."""


@contextlib.contextmanager
def _expecting(job_id: str) -> Generator[None]:
    """Name the job in the error if the server does not find it."""
    try:
        yield
    except NotFoundError as error:
        raise _NoSuchJobError(job_id) from error


@contextlib.contextmanager
def _connected(parsed: argparse.Namespace) -> Generator[Client]:
    """Yield a client after checking that the server responds."""
    with Client(
        parsed.server, api_key=read_key(parsed), timeout=None, max_retries=MAX_RETRIES
    ) as client:
        client.health()
        yield client


def _submit(parsed: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        plan = plan_submissions(parsed, stack)
        for line in plan.skipped:
            complain(line)
        for label, error in plan.unreadable:
            complain(f"{label}: {error.strerror or error}")
        if not plan.submissions:
            complain("nothing is left to submit")
            return EXIT_FAILED
        submitted: list[str] = []
        with _connected(parsed) as client:
            for submission in plan.submissions:
                job = submit_one(client, submission)
                submitted.append(job.id)
                _print(job, job.id, parsed)
            waited = _wait_for(client, submitted, parsed) if parsed.wait else EXIT_DONE
    left_out = len(plan.unreadable)
    if not left_out:
        return waited
    complain(f"submitted without {left_out} of the inputs, which cannot be read (listed above)")
    return waited or EXIT_LEFT_OUT


def _status(parsed: argparse.Namespace) -> int:
    with _connected(parsed) as client:
        for job_id in parsed.ids:
            with _expecting(job_id):
                job = client.job(job_id)
            _print(job, describe(job), parsed)
            if job.progress.items_failed:
                _report_failed(client, job)
    return EXIT_DONE


def _list(parsed: argparse.Namespace) -> int:
    if parsed.limit < 0:
        raise OptionError("limit", f"--limit is {parsed.limit}; expected 0 or more")
    with _connected(parsed) as client:
        for job in client.jobs(status=parsed.status, limit=parsed.limit or None):
            if parsed.json:
                say(to_json(job))
            else:
                say(describe_in_list(job, next(iter(client.items(job.id)), None)))
    return EXIT_DONE


def _wait(parsed: argparse.Namespace) -> int:
    with _connected(parsed) as client:
        return _wait_for(client, parsed.ids, parsed)


def _wait_for(client: Client, ids: Sequence[str], parsed: argparse.Namespace) -> int:
    code = EXIT_DONE
    for job_id in ids:
        with job_progress() as shown, _expecting(job_id):
            job = client.wait(job_id, timeout=parsed.timeout, progress=shown.show)
        code = max(code, _report_end(client, job, parsed, shown))
    return code


def _report_end(
    client: Client, job: Job, parsed: argparse.Namespace, shown: JobProgressLines
) -> int:
    """Write how a job ended; return the exit code. `submit` prints only ids."""
    shown.close()
    if parsed.action == "wait":
        _print(job, describe(job), parsed)
    if job.progress.items_failed:
        _report_failed(client, job)
    if job.progress.items_canceled:
        complain(f"{job.id}: {job.progress.items_canceled} items were canceled")
    is_whole = (
        job.status == "succeeded" and job.progress.items_succeeded == job.progress.items_total
    )
    return EXIT_DONE if is_whole else EXIT_FAILED


def _fetch(parsed: argparse.Namespace) -> int:
    if parsed.output.exists() and not parsed.output.is_dir():
        raise OptionError("output", f"{parsed.output} is a file; expected a folder")

    async def run() -> int:
        async with AsyncClient(
            parsed.server, api_key=read_key(parsed), timeout=None, max_retries=MAX_RETRIES
        ) as client:
            await client.health()
            for job_id in parsed.ids:
                with _expecting(job_id):
                    await client.job(job_id)
            return await fetch_results(client, parsed)

    return asyncio.run(run())


def _change(parsed: argparse.Namespace) -> int:
    with _connected(parsed) as client:
        change = client.cancel if parsed.action == "cancel" else client.retry
        for job_id in parsed.ids:
            with _expecting(job_id):
                job = change(job_id)
            _print(job, describe(job), parsed)
    return EXIT_DONE


def _delete(parsed: argparse.Namespace) -> int:
    with _connected(parsed) as client:
        for job_id in parsed.ids:
            with _expecting(job_id):
                client.delete(job_id)
    return EXIT_DONE


def _report_failed(client: Client, job: Job) -> None:
    for item in client.items(job.id, status="failed"):
        complain(_describe_failed(job, item))


def _describe_failed(job: Job, item: JobItem) -> str:
    name = f"item {item.number}" if item.name is None else item.name
    reason = "unknown reason" if item.error is None else item.error.message
    code = "" if item.error is None else f" ({item.error.code})"
    return f"{job.id}: {name}: {reason}{code}"


def _print(job: Job, line: str, parsed: argparse.Namespace) -> None:
    say(to_json(job) if parsed.json else line)


def to_json(job: Job) -> str:
    """Return a job as the server's JSON, on one line."""

    def write(value: object) -> str:
        assert isinstance(value, datetime)
        return value.isoformat().replace("+00:00", "Z")

    return json.dumps(dataclasses.asdict(job), default=write, ensure_ascii=False)
