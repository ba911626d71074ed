"""The live OpenAPI document -> requests within and outside it, and answers held to it.

schemathesis reads the document from the running server, so a new route is covered the moment it is
there. Checked of every answer: no 5xx, a status, a media type, headers and a body that the document
has, methods that it lacks refused with 405, and our own check of problem documents.

Left out is `positive_data_acceptance` alone: that any bytes "should be accepted" is not what a
route for recordings promises, and no JSON schema can say what a recording is.
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
    """Runs schemathesis against the server.

    Args:
        server: Whose contract it is.
        report: Filled.
        folder: For its report.
        seed: Of everything random.
        examples: For each operation and phase.
        seconds: Fuzzing goes on for so long; absent: one round.
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
