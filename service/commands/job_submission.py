"""What `mt3 jobs submit` was given -> the submissions that it makes.

One submission is one request and one job. Files beyond `--items-per-job` go into further jobs, in
order, so that a folder of any size can be handed over; a request that breaks off is made again from
its first byte, and costs no more than its own job's files.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mt3_model.errors import OptionError
from service.client import Client, Job, Options
from service.commands.planning import expand_globs, find_recordings
from service.commands.remote_road import read_secret


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """One job to be."""

    files: Mapping[str, Path] | None
    """By the names that the items shall have; absent: addresses in place of files."""
    urls: tuple[str, ...]
    objects: tuple[str, ...]
    options: Options
    metadata: Mapping[str, str] | None
    webhook_url: str | None
    webhook_secret: str | None
    expires_in: float | None
    idempotency_key: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SubmissionPlan:
    """All that a command submits."""

    submissions: tuple[Submission, ...]
    unreadable: tuple[tuple[Path, OSError], ...]
    """Files that are left out, and why."""


def plan_submissions(parsed: argparse.Namespace) -> SubmissionPlan:
    """Says what is submitted, before a server is asked.

    Raises:
        OptionError: Nothing to submit, files beside addresses, two recordings of one name, or an
            option that cannot be.
    """
    if parsed.items_per_job < 1:
        raise OptionError(
            "items_per_job", f"--items-per-job is {parsed.items_per_job}; expected 1 or more"
        )
    addresses = bool(parsed.url or parsed.object)
    if addresses == bool(parsed.inputs):
        raise OptionError("inputs", "expected either files and folders, or --url and --object")
    named, unreadable = _readable(parsed.inputs)
    if parsed.inputs and not named:
        return SubmissionPlan(submissions=(), unreadable=unreadable)
    whole = Submission(
        files=None if addresses else named,
        urls=tuple(parsed.url), objects=tuple(parsed.object), metadata=_metadata_of(parsed),
        options=Options(
            model=parsed.model, decoding=parsed.decoding, precision=parsed.precision,
            start=parsed.start, end=parsed.end,
        ),
        webhook_url=parsed.webhook_url, webhook_secret=_secret_of(parsed),
        expires_in=parsed.expires_in, idempotency_key=parsed.idempotency_key,
    )  # fmt: skip
    return SubmissionPlan(submissions=_split(whole, parsed.items_per_job), unreadable=unreadable)


def submit_one(client: Client, submission: Submission) -> Job:
    """Submits one job."""
    return client.submit(
        submission.files, urls=submission.urls, objects=submission.objects,
        metadata=submission.metadata, webhook_url=submission.webhook_url,
        webhook_secret=submission.webhook_secret, expires_in=submission.expires_in,
        idempotency_key=submission.idempotency_key, **submission.options,
    )  # fmt: skip


def _readable(inputs: list[Path]) -> tuple[dict[str, Path], tuple[tuple[Path, OSError], ...]]:
    """Names the recordings that can be opened, and those that cannot."""
    named: dict[str, Path] = {}
    unreadable: list[tuple[Path, OSError]] = []
    for path, place in find_recordings(expand_globs(inputs)):
        if place.as_posix() in named:
            raise OptionError(
                "inputs",
                f"{path} and {named[place.as_posix()]} are both called {place}; submit them apart",
            )
        try:
            with path.open("rb"):
                named[place.as_posix()] = path
        except OSError as error:
            unreadable.append((path, error))
    return named, tuple(unreadable)


def _split(whole: Submission, items: int) -> tuple[Submission, ...]:
    """Divides files, or addresses, into jobs; their keys tell them apart."""
    files = list((whole.files or {}).items())
    addresses = [("url", url) for url in whole.urls] + [("object", key) for key in whole.objects]
    count = max(len(files), len(addresses))
    parts: list[Submission] = []
    for begin in range(0, count, items):
        some = addresses[begin : begin + items]
        key = whole.idempotency_key
        parts.append(
            dataclasses.replace(
                whole,
                files=dict(files[begin : begin + items]) if files else None,
                urls=tuple(address for kind, address in some if kind == "url"),
                objects=tuple(address for kind, address in some if kind == "object"),
                idempotency_key=key if key is None or count <= items else f"{key}-{len(parts)}",
            )
        )
    return tuple(parts)


def _metadata_of(parsed: argparse.Namespace) -> dict[str, str] | None:
    metadata: dict[str, str] = {}
    for pair in parsed.metadata:
        name, is_pair, value = pair.partition("=")
        if not is_pair or not name:
            raise OptionError("metadata", f"--metadata is {pair!r}; expected NAME=VALUE")
        metadata[name] = value
    return metadata or None


def _secret_of(parsed: argparse.Namespace) -> str | None:
    if parsed.webhook_secret_file is None:
        return None
    return read_secret(parsed.webhook_secret_file, option="webhook_secret_file", what="a secret")
