"""Load test: measure throughput, latencies, refusals and errors, up to ten times the capacity.

    python deploy/load/run.py --start-server               # this machine's model
    python deploy/load/run.py --start-server --fake        # a fake device of known speed
    python deploy/load/run.py --url http://localhost:8000  # a running server

The first run installs locust into `.venv-load` (from the hashed `requirements.txt`). `driver.py`
runs there, while `health_probe.py` requests `/health` ten times a second from another process.
Prints a table. The exit code is 1 after a fault that no load excuses (`report.find_faults`): an
error, a hung request, a slow refusal or a slow `/health`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Generator
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-load"
START_SECONDS = 900.0
"""Maximum time for the server to start: long, because the first start compiles the network and may
download the checkpoint."""
FAKE_SETTINGS = {"MT3_BACKEND": "fake", "MT3_SLOTS": "8", "MT3_FAKE_ITERATION_SECONDS": "0.5"}
"""At most 8.2 seconds of audio per second, so that the device is the limit and not two CPU cores:
the fake inserts two segments of 2.048 s into its slots in each iteration of 0.5 s."""


def main() -> int:
    """Run the load test; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Load test: rising concurrency until saturation, then ten times the capacity."
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="address of a running server")
    where.add_argument("--start-server", action="store_true", help="start `mt3 serve` for the test")
    parser.add_argument("--fake", action="store_true", help="start the server with a fake device")
    parser.add_argument(
        "--waiting-seconds", type=float, default=80.0,
        help="MT3_MAX_WAITING_AUDIO_SECONDS of the server started (default: 80)",
    )  # fmt: skip
    parser.add_argument("--step-seconds", type=float, default=15.0, help="default: 15")
    parser.add_argument("--seconds", type=float, default=8.0, help="audio per request; default: 8")
    parser.add_argument("--recording", type=Path, default=ROOT / "tests" / "demo" / "demo.ogg")
    parser.add_argument("--json", type=Path, help="also write all results as JSON")
    parsed = parser.parse_args()
    python = _prepare_environment()
    with contextlib.ExitStack() as stack:
        url: str = parsed.url or stack.enter_context(_server(parsed))
        found = _run(python, url.rstrip("/"), parsed)
    steps = found["steps"]
    faults = report.find_faults(steps)
    if parsed.json:
        parsed.json.write_text(json.dumps(found | {"faults": faults}, indent=2))
    print(report.to_table(steps))
    print(report.describe_retry_after(steps))
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults else 0


def _run(python: Path, url: str, parsed: argparse.Namespace) -> dict[str, Any]:
    """Run the driver and the probe; return the measurements of both."""
    environment = {
        **os.environ, "LOAD_RECORDING": str(parsed.recording), "LOAD_SECONDS": str(parsed.seconds)
    }  # fmt: skip
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        steps = Path(folder) / "steps.json"
        with _probing(url) as probes:
            subprocess.run(  # noqa: S603  # our own files
                [python, HERE / "driver.py", "--url", url, "--json", steps,
                 "--step-seconds", str(parsed.step_seconds)],
                env=environment, check=True,
            )  # fmt: skip
        found: dict[str, Any] = json.loads(steps.read_text())
    report.add_health(found["steps"], probes)
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began, 1),
        "machine": {"processor": platform.processor(), "cores": os.cpu_count()},
        "server": "fake device" if parsed.fake else "given" if parsed.url else "model",
        **found,
    }


@contextlib.contextmanager
def _probing(url: str) -> Generator[list[dict[str, Any]]]:
    """Probe `/health` while the context lasts; the list is filled at its end."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryFile("w+") as answers:
        process = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, HERE / "health_probe.py", url], stdin=subprocess.PIPE, stdout=answers
        )
        try:
            yield found
        finally:
            process.communicate()
        answers.seek(0)
        found += map(json.loads, answers)


@contextlib.contextmanager
def _server(parsed: argparse.Namespace) -> Generator[str]:
    """Start `mt3 serve` on a free port and yield its URL once it is ready; stop it at the end."""
    settings = {
        "MT3_PORT": "0", "MT3_JOBS": "false",
        "MT3_MAX_WAITING_AUDIO_SECONDS": str(parsed.waiting_seconds),
        **(FAKE_SETTINGS if parsed.fake else {}),
    }  # fmt: skip
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603  # our own program
            [ROOT / ".venv" / "bin" / "mt3", "serve"],
            env={**os.environ, **settings}, stderr=log, stdout=log,
        )  # fmt: skip
        try:
            yield _wait_until_ready(process, Path(log.name))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
        _, _, rest = log.read_text(errors="replace").partition("Uvicorn running on ")
        if rest:
            url = rest.split('"', 1)[0].split()[0]
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{url}/ready", timeout=10),  # noqa: S310  # our own
            ):
                return url
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')[-3_000:]}")


def _prepare_environment() -> Path:
    """Create locust's environment if its requirements changed; return the path of its Python."""
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp, python = ENVIRONMENT / ".installed", ENVIRONMENT / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"Setting up {ENVIRONMENT.name} (some seconds, once)")
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        subprocess.run(  # noqa: S603  # our own environment
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--require-hashes", "--requirement", requirements],
            check=True,
        )  # fmt: skip
        stamp.write_text(digest)
    return python


if __name__ == "__main__":
    sys.exit(main())
