"""The options of `mt3 jobs`, for the parser of `service/cli.py`. Imports nothing heavy."""

import argparse
from pathlib import Path
from typing import get_args

from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.commands.option_types import option_seconds
from service.commands.result_plan import FORMAT_SUFFIXES
from service.commands.server_address import DEFAULT_SERVER
from service.commands.shared_options import add_range_options, add_server_option, whole_number

DEFAULT_ITEMS_PER_JOB = 10_000
"""The server's own default limit (`MT3_MAX_JOB_ITEMS`)."""
STATES = ("queued", "processing", "succeeded", "failed", "canceled")
DEFAULT_LISTED = 20


def add_jobs_options(parser: argparse.ArgumentParser) -> None:
    """Describes the actions."""
    parser.set_defaults(run="jobs:jobs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    submit = actions.add_parser("submit", help="hand over files, folders, URLs; print the job's id")
    _add_submission(submit)
    status = actions.add_parser("status", help="how jobs are now, and which items failed")
    wait = actions.add_parser("wait", help="until jobs have ended; then as `status`")
    fetch = actions.add_parser("fetch", help="write the results that are not there yet")
    fetch.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    fetch.add_argument(
        "--format",
        choices=tuple(FORMAT_SUFFIXES),
        help="of the results (default: as submitted, or midi)",
    )
    cancel = actions.add_parser("cancel", help="give up what is not finished")
    retry = actions.add_parser("retry", help="try failed items again")
    delete = actions.add_parser("delete", help="remove jobs with all that is theirs")
    for action in (status, wait, fetch, cancel, retry, delete):
        action.add_argument("ids", nargs="+", metavar="ID", help="as `submit` printed it")
    listing = actions.add_parser("list", help="your jobs, latest first")
    listing.add_argument("--status", choices=STATES, help="only those")
    listing.add_argument(
        "--limit",
        type=whole_number,
        default=DEFAULT_LISTED,
        metavar="N",
        help="0: all (default: 20)",
    )
    for action in (submit, wait):
        action.add_argument(
            "--timeout", type=option_seconds, metavar="SECONDS", help="of the wait (default: none)"
        )
    for action in (submit, status, wait, fetch, cancel, retry, delete, listing):
        add_server_option(action, f"default: MT3_SERVER, or {DEFAULT_SERVER}")
        action.add_argument(
            "--json", action="store_true", help="write the server's objects, one on each line"
        )


def _add_submission(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="*", metavar="IN", help="audio file, folder or glob; - is standard input"
    )
    parser.add_argument(
        "--url", action="append", default=[], help="fetched by the server, in place of files"
    )
    parser.add_argument(
        "--object", action="append", default=[], metavar="KEY",
        help="read by the server, in place of files: s3://bucket/key",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="until all has ended")
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="NAME=VALUE", help="echoed by the job"
    )
    parser.add_argument("--webhook-url", metavar="URL", help="told when a job has ended")
    parser.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="signs it")
    parser.add_argument(
        "--expires-in", type=option_seconds, metavar="SECONDS", help="when all of it is deleted"
    )
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="the same again: the same jobs, not new ones"
    )
    parser.add_argument(
        "--items-per-job", type=whole_number, default=DEFAULT_ITEMS_PER_JOB, metavar="N",
        help=f"more files make several jobs (default: {DEFAULT_ITEMS_PER_JOB})",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=tuple(FORMAT_SUFFIXES), help="of results, where `fetch` names none"
    )
    parser.add_argument("--decoding", choices=get_args(Decoding))
    parser.add_argument("--precision", choices=get_args(PrecisionChoice))
    add_range_options(parser)
    parser.add_argument("--model", help="a name of the server's models")
