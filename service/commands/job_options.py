"""Options of `mt3 jobs`, for the parser in `service/cli.py`. No heavy imports."""

import argparse
from pathlib import Path
from typing import get_args

from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.commands.option_types import option_seconds
from service.commands.result_plan import FORMAT_SUFFIXES, parse_format
from service.commands.server_address import DEFAULT_SERVER
from service.commands.shared_options import (
    add_instruments_option,
    add_postprocess_option,
    add_quality_option,
    add_range_options,
    add_rhythm_options,
    add_server_option,
    whole_number,
)

DEFAULT_ITEMS_PER_JOB = 10_000
"""The server's own default limit (`MT3_MAX_JOB_ITEMS`)."""
STATES = ("queued", "processing", "succeeded", "failed", "canceled")
DEFAULT_LISTED = 20

_FORMATS = ", ".join(FORMAT_SUFFIXES)


def add_jobs_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    parser.set_defaults(run="jobs:jobs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    submit = actions.add_parser("submit", help="submit files, folders or URLs; print the job's id")
    _add_submission(submit)
    status = actions.add_parser("status", help="show the state of jobs and their failed items")
    wait = actions.add_parser("wait", help="wait until jobs have ended, then show their state")
    fetch = actions.add_parser("fetch", help="write the results that do not exist yet")
    fetch.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    fetch.add_argument(
        "--format",
        type=parse_format,
        metavar="FORMAT",
        help=f"format of the results: {_FORMATS} (default: as submitted, or midi)",
    )
    cancel = actions.add_parser("cancel", help="cancel the items that are not finished")
    retry = actions.add_parser("retry", help="try failed items again")
    delete = actions.add_parser("delete", help="delete jobs with their recordings and results")
    for action in (status, wait, fetch, cancel, retry, delete):
        action.add_argument("ids", nargs="+", metavar="ID", help="id that `submit` printed")
    listing = actions.add_parser("list", help="your jobs, latest first")
    listing.add_argument("--status", choices=STATES, help="only jobs in this state")
    listing.add_argument(
        "--limit",
        type=whole_number,
        default=DEFAULT_LISTED,
        metavar="N",
        help="at most N jobs; 0 for all (default: 20)",
    )
    for action in (submit, wait):
        action.add_argument(
            "--timeout",
            type=option_seconds,
            metavar="SECONDS",
            help="longest time to wait (default: no limit)",
        )
    for action in (submit, status, wait, fetch, cancel, retry, delete, listing):
        add_server_option(action, f"default: MT3_SERVER, or {DEFAULT_SERVER}")
        action.add_argument(
            "--json", action="store_true", help="print the server's objects as JSON, one per line"
        )


def _add_submission(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="*", metavar="IN", help="audio file, folder or glob; - is standard input"
    )
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        help="recording for the server to fetch, instead of files",
    )
    parser.add_argument(
        "--object", action="append", default=[], metavar="KEY",
        help="object for the server to read, instead of files: s3://bucket/key",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="wait until the jobs have ended")
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="stored with the job and returned with it",
    )
    parser.add_argument(
        "--webhook-url", metavar="URL", help="receives a request when a job has ended"
    )
    parser.add_argument(
        "--webhook-secret-file",
        type=Path,
        metavar="FILE",
        help="file with the secret that signs the webhook",
    )
    parser.add_argument(
        "--expires-in",
        type=option_seconds,
        metavar="SECONDS",
        help="delete the job this long after its end",
    )
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="submitting again with this key returns the same jobs",
    )
    parser.add_argument(
        "--items-per-job", type=whole_number, default=DEFAULT_ITEMS_PER_JOB, metavar="N",
        help=f"split more files into several jobs (default: {DEFAULT_ITEMS_PER_JOB})",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        type=parse_format,
        metavar="FORMAT",
        help=f"default format for `fetch`: {_FORMATS}",
    )
    parser.add_argument("--decoding", choices=get_args(Decoding))
    parser.add_argument("--precision", choices=get_args(PrecisionChoice))
    add_range_options(parser)
    add_postprocess_option(parser)
    add_instruments_option(parser)
    add_quality_option(parser)
    add_rhythm_options(parser)
    parser.add_argument("--model", help="name of one of the server's models")
