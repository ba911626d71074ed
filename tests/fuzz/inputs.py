"""Run the targets of `tests/fuzz/targets`, each for its share of the time.

Each runs in a process of its own, because it may crash a decoder.
"""

import importlib
import pathlib
import re
import subprocess
import sys
import time

from tests.fuzz.report import PartReport
from tests.fuzz.targets.fuzzing import smallest

TARGETS = ("options", "multipart", "audio_structure", "audio_reading")
_RUNS = re.compile(r"Done (\d+) runs|^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")
_MEMORY_MB = 2_000
"""Memory limit of one input, as in the decoding process (`ReadingLimits`)."""
_INPUT_SECONDS = 20


def fuzz_inputs(folder: pathlib.Path, *, seed: int, seconds: float) -> list[PartReport]:
    """Run all targets.

    Args:
        folder: where inputs that break a target are written.
        seed: the seed of libFuzzer.
        seconds: the time for all targets together.
    """
    return [
        fuzz_target(name, folder, seed=seed, seconds=seconds / len(TARGETS)) for name in TARGETS
    ]


def fuzz_target(name: str, folder: pathlib.Path, *, seed: int, seconds: float) -> PartReport:
    """Run one target; report minimized inputs that break it."""
    report = PartReport(name=f"input: {name}")
    began = time.monotonic()
    finished = subprocess.run(
        [
            sys.executable, "-m", f"tests.fuzz.targets.{name}",
            f"-max_total_time={max(int(seconds), 1)}", f"-seed={seed}",
            f"-rss_limit_mb={_MEMORY_MB}", f"-timeout={_INPUT_SECONDS}",
            f"-artifact_prefix={folder}/{name}-",
        ],
        capture_output=True, text=True, errors="replace", timeout=seconds + 120, check=False,
    )  # fmt: skip
    report.seconds = round(time.monotonic() - began, 1)
    output = finished.stdout + finished.stderr
    report.tried = max((int(a or b) for a, b in _RUNS.findall(output)), default=0)
    covered = _COVERED.findall(output)
    report.answers["branches covered"] = int(covered[-1]) if covered else 0
    if finished.returncode or not report.tried:
        report.violations.append(f"{name} ended with {finished.returncode}: {output[-1_500:]}")
        report.violations += [
            _describe(name, path) for path in sorted(folder.glob(f"{name}-*")) if path.is_file()
        ]
    return report


def _describe(name: str, path: pathlib.Path) -> str:
    """Return the input, minimized if it raises an exception and does not end the process."""
    data = path.read_bytes()
    if path.name.startswith(f"{name}-crash"):
        # A decoder that ends the process would end this one too: only exceptions are minimized.
        target = importlib.import_module(f"tests.fuzz.targets.{name}")
        tried = subprocess.run(
            [sys.executable, "-c",
             f"from tests.fuzz.targets import {name} as t; t.check({data!r})" if len(data) < 50_000
             else "raise SystemExit(1)"],
            capture_output=True, check=False,
        )  # fmt: skip
        if tried.returncode == 1 and len(data) < 50_000:
            data = smallest(target.check, data)
    return f"{path.name}: {data[:2_000]!r}"
