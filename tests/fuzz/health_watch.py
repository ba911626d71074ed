"""Watch `/health` during a part of a run, by the probe of the load test."""

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_PROBE = Path(__file__).parents[2] / "deploy" / "load" / "health_probe.py"


@contextlib.contextmanager
def watching(url: str):
    """Watch `/health` during the context; fill the yielded dictionary at its end.

    It gets `asked` and `unanswered` and, in seconds, `median`, `p99` and `worst`.
    """
    found: dict[str, float] = {}
    with tempfile.TemporaryFile() as answers:
        process = subprocess.Popen(
            [sys.executable, _PROBE, url], stdin=subprocess.PIPE, stdout=answers
        )
        try:
            yield found
            process.communicate(timeout=30)
            answers.seek(0)
            found |= _summarize([json.loads(line)["seconds"] for line in answers])
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _summarize(seconds: list[float | None]) -> dict[str, float]:
    answered = sorted(each for each in seconds if each is not None)

    def quantile(share: float) -> float:
        return round(answered[int(share * (len(answered) - 1))], 4) if answered else 0.0

    return {
        "asked": len(seconds),
        "unanswered": len(seconds) - len(answered),
        "median": quantile(0.5),
        "p99": quantile(0.99),
        "worst": quantile(1.0),
    }
