"""`python -m tests.fuzz`: send a server arbitrary input for a given time, and report the result.

Starts a server (or uses a running one, `--url`), runs the chosen parts against it, and reports the
number of requests, responses by status, 5xx, memory and files before and after, and the latency of
`/health`. The exit code is 1 after a 5xx that is not a documented refusal, after a leak, a broken
contract or a crash.
"""

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile
import time

from tests.fuzz import report as reports
from tests.fuzz.broken_clients import LONG, SHORT
from tests.fuzz.inputs import fuzz_inputs
from tests.fuzz.parts import fuzz_clients, fuzz_contract, warm_up
from tests.fuzz.running_server import RunningServer, attached, started

PARTS = ("contract", "clients", "inputs")
_CONTRACT_SHARE, _INPUTS_SHARE = 0.4, 0.4
"""Shares of the whole time. The clients part has a fixed length, about a minute."""


def main() -> int:
    """Run the parts; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=240.0, help="for all, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="few broken clients")
    parser.add_argument("--url", help="of a running server with default settings and no keys")
    parser.add_argument("--json", type=pathlib.Path, help="write everything here too")
    parsed = parser.parse_args()
    parts = parsed.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
    began = time.time()
    found: list[reports.PartReport] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if {"contract", "clients"} & set(parts):
            with contextlib.ExitStack() as stack:
                own = None if parsed.url else stack.enter_context(started(folder))
                found += _fuzz_server(own or attached(parsed.url), parts, parsed, folder)
        if "inputs" in parts:
            found += fuzz_inputs(folder, seed=parsed.seed, seconds=parsed.seconds * _INPUTS_SHARE)
    print(reports.to_table(found))
    if parsed.json:
        parsed.json.write_text(
            reports.to_json(
                found,
                seed=parsed.seed,
                began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
                seconds=round(time.time() - began, 1),
                cores=len(os.sched_getaffinity(0)),
            )
        )
    return 0 if reports.is_clean(found) else 1


def _fuzz_server(
    server: RunningServer, parts: list[str], parsed: argparse.Namespace, folder: pathlib.Path
) -> list[reports.PartReport]:
    expected = warm_up(server)
    found = []
    if "contract" in parts:
        found.append(
            fuzz_contract(
                server, expected, folder=folder, seed=parsed.seed, examples=200,
                seconds=parsed.seconds * _CONTRACT_SHARE,
            )
        )  # fmt: skip
    if "clients" in parts:
        found += fuzz_clients(
            server, expected, seed=parsed.seed, extent=SHORT if parsed.short else LONG
        )
    log = reports.PartReport(name="server's log", violations=server.faults())
    return [*found, log]


if __name__ == "__main__":
    sys.exit(main())
