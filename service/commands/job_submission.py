"""`mt3 jobs submit`: split the inputs into submissions of one request and one job each.

Files beyond `--items-per-job`, or beyond 8 GiB, go into further jobs, in order. So a folder of any
size can be submitted, and after a failed request only the files of one job are sent again.
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mt3_model.errors import OptionError
from service.client import Client, Job, Options, ResponseFormat
from service.commands.recording_search import FoundRecordings, require_content
from service.commands.shared_options import rhythm_options_of
from service.commands.standard_input import find_inputs
from service.commands.transcribe_remote import read_secret

BYTES_PER_JOB = 1 << 33
"""8 GiB: half of a server's default limit for one submission (`MT3_MAX_JOB_UPLOAD_BYTES`). A larger
file gets its own job."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The request for one job."""

    files: Mapping[str, Path] | None
    """Item name -> file; None if the job has URLs or objects instead."""
    urls: tuple[str, ...]
    objects: tuple[str, ...]
    options: Options
    response_format: ResponseFormat | None
    metadata: Mapping[str, str] | None
    webhook_url: str | None
    webhook_secret: str | None
    expires_in: float | None
    idempotency_key: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SubmissionPlan:
    """All submissions of one command."""

    submissions: tuple[Submission, ...]
    unreadable: tuple[tuple[str, OSError], ...]
    """Files that are left out, each with the reason."""
    skipped: tuple[str, ...] = ()
    """Lines about other files in the folders."""


def plan_submissions(parsed: argparse.Namespace, stack: contextlib.ExitStack) -> SubmissionPlan:
    """Plan the submissions of a command line; no request is made.

    Args:
        parsed: the command line.
        stack: closes and removes the copy of standard input.

    Raises:
        OptionError: there is nothing to submit, files are mixed with addresses, two recordings
            have one name, or an option has no valid value.
    """
    if parsed.items_per_job < 1:
        raise OptionError(
            "items_per_job", f"--items-per-job is {parsed.items_per_job}; expected 1 or more"
        )
    addresses = bool(parsed.url or parsed.object)
    if addresses == bool(parsed.inputs):
        raise OptionError("inputs", "expected either files and folders, or --url and --object")
    found = find_inputs(parsed.inputs, stack)
    named, unreadable = _readable(found)
    skipped = tuple(found.describe_skipped())
    if parsed.inputs and not named:
        return SubmissionPlan(submissions=(), unreadable=unreadable, skipped=skipped)
    whole = Submission(
        files=None if addresses else named,
        urls=tuple(parsed.url), objects=tuple(parsed.object), metadata=_metadata_of(parsed),
        options=Options(
            model=parsed.model, decoding=parsed.decoding, precision=parsed.precision,
            start=parsed.start, end=parsed.end, audio_track=parsed.audio_track,
            postprocess=parsed.postprocess, instruments=parsed.instruments,
            quality=parsed.quality,
            quantize=parsed.quantize, **rhythm_options_of(parsed),
        ),
        response_format=parsed.format, webhook_url=parsed.webhook_url,
        webhook_secret=_secret_of(parsed),
        expires_in=parsed.expires_in, idempotency_key=parsed.idempotency_key,
    )  # fmt: skip
    return SubmissionPlan(
        submissions=_split(whole, parsed.items_per_job), unreadable=unreadable, skipped=skipped
    )


def submit_one(client: Client, submission: Submission) -> Job:
    """Submit one job."""
    return client.submit(
        submission.files, urls=submission.urls, objects=submission.objects,
        response_format=submission.response_format, metadata=submission.metadata,
        webhook_url=submission.webhook_url,
        webhook_secret=submission.webhook_secret, expires_in=submission.expires_in,
        idempotency_key=submission.idempotency_key, **submission.options,
    )  # fmt: skip


def _readable(found: FoundRecordings) -> tuple[dict[str, Path], tuple[tuple[str, OSError], ...]]:
    """Sort the recordings into readable ones (name -> path) and unreadable ones with a reason."""
    named: dict[str, Path] = {}
    unreadable = [(str(folder), error) for folder, error in found.unreadable]
    for recording in found.recordings:
        name = recording.relative_path.as_posix()
        if name in named:
            raise OptionError(
                "inputs",
                f"{recording.label} and {named[name]} are both named {name}; submit them"
                " separately",
            )
        try:
            require_content(recording.path)
        except OSError as error:
            # The server accepts a form as a whole or not at all: leave the bad file out here.
            unreadable.append((recording.label, error))
        else:
            named[name] = recording.path
    return named, tuple(unreadable)


def _split(whole: Submission, items: int) -> tuple[Submission, ...]:
    """Split files or addresses into jobs; number the idempotency keys of several."""
    if whole.files is None:
        addresses = [("url", url) for url in whole.urls] + [("object", o) for o in whole.objects]
        parts = [
            dataclasses.replace(
                whole,
                urls=tuple(address for kind, address in some if kind == "url"),
                objects=tuple(address for kind, address in some if kind == "object"),
            )
            for some in (addresses[n : n + items] for n in range(0, len(addresses), items))
        ]
    else:
        parts = [dataclasses.replace(whole, files=some) for some in _divide(whole.files, items)]
    key = whole.idempotency_key
    if key is None or len(parts) == 1:
        return tuple(parts)
    return tuple(
        dataclasses.replace(part, idempotency_key=f"{key}-{n}") for n, part in enumerate(parts)
    )


def _divide(files: Mapping[str, Path], items: int) -> list[dict[str, Path]]:
    """Split files, in order, by their number and their total size."""
    parts: list[dict[str, Path]] = []
    held = 0
    for name, path in files.items():
        size = path.stat().st_size
        if not parts or len(parts[-1]) >= items or held + size > BYTES_PER_JOB:
            parts.append({})
            held = 0
        parts[-1][name] = path
        held += size
    return parts


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
