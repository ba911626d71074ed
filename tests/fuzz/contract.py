"""Check a running server against its own OpenAPI document with schemathesis.

schemathesis reads the document from the server, so new routes are covered at once. For every
response it checks that there is no 5xx, that status, media type, headers and body are in the
document, that other methods are refused with 405, and that refusals are problem documents.

Only the check `positive_data_acceptance` is left out: it expects any bytes to be accepted, but a
route for recordings accepts only audio, which no JSON schema can describe.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from tests.fuzz.report import PartReport
from tests.fuzz.running_server import RunningServer
from tests.repository.tracked_files import ROOT

_LEFT_OUT = "positive_data_acceptance"
_PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run_contract(
    server: RunningServer,
    report: PartReport,
    *,
    folder: pathlib.Path,
    seed: int,
    examples: int,
    seconds: float | None = None,
) -> None:
    """Run schemathesis against the server.

    Args:
        server: the server to check.
        report: the report to fill.
        folder: where schemathesis writes its report.
        seed: the random seed.
        examples: the number of examples for each operation and phase.
        seconds: how long to continue; None for one round.
    """
    answers = folder / "contract-answers.json"
    arguments = [
        "--checks=all", f"--exclude-checks={_LEFT_OUT}", f"--seed={seed}",
        f"--max-examples={examples}", "--continue-on-failure", "--no-color",
        "--request-timeout=30", "--generation-database=none", "--suppress-health-check=all",
        "--report=json", f"--report-json-path={folder / 'schemathesis.json'}",
    ]  # fmt: skip
    arguments += [f"--header={name}: {value}" for name, value in server.headers.items()]
    if seconds is not None:
        arguments.append(f"--max-time={max(int(seconds), 1)}")
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, "run", f"{server.url}/openapi.json",
         *arguments],
        env={
            **os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.contract_hooks",
            "MT3_FUZZ_ANSWERS": str(answers), "PYTHONPATH": str(ROOT),
        },
        cwd=folder,  # it keeps its crashes where it runs
        capture_output=True, text=True, timeout=(seconds or 0) + 300, check=False,
    )  # fmt: skip
    output = _COLOUR.sub("", finished.stdout)
    if answers.exists():
        counted = json.loads(answers.read_text())
        report.tried += counted["tried"]
        report.answers.update(counted["answers"])
        report.server_errors += counted["server_errors"]
    if not report.tried:
        words = f"{output[-2_000:]}{finished.stderr[-2_000:]}"
        report.violations.append(f"schemathesis did not run: {words}")
    if finished.returncode:
        _, _, failures = output.partition("FAILURES")
        report.violations.append(f"the contract is broken: {(failures or output)[:6_000]}")
