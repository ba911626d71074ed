"""Options of `mt3 benchmark`, validated before the model is loaded.

The command line imports this module for its help, so it imports no JAX.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from mt3_model.errors import OptionError
from mt3_model.notes.transcription import Decoding

DEFAULT_CONCURRENCY = "1,4,16,64"
SECONDS_ON_CPU, SECONDS_ON_ACCELERATOR = 10.0, 60.0
"""Length of each caller's recording. 85 callers (1 + 4 + 16 + 64) of 10 s at the 8 x real time of
two CPU cores take under two minutes; an accelerator needs longer recordings to stay busy."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A validated request for a measurement."""

    recordings: tuple[Path, ...]
    """Audio files that the callers send, in turn; if empty, the piece of `material.py`."""
    seconds: float | None
    """Length of each caller's recording; None: the default for the device."""
    concurrency: tuple[int, ...]
    """Numbers of callers at once, one measurement each."""
    rounds: int
    """Repetitions of each measurement; latencies are over all rounds."""
    decoding: Decoding

    def seconds_on(self, platform: str) -> float:
        """Return the length for JAX's name of a platform (``cpu``, ``gpu``, ``tpu``)."""
        if self.seconds is not None:
            return self.seconds
        return SECONDS_ON_CPU if platform == "cpu" else SECONDS_ON_ACCELERATOR


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mt3 benchmark` to a parser."""
    parser.add_argument(
        "recordings", nargs="*", type=Path, metavar="RECORDING",
        help="recordings that the callers send (default: a synthesized piece)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float,
        help=f"seconds of audio per caller (default: {SECONDS_ON_CPU:g} on a CPU,"
        f" {SECONDS_ON_ACCELERATOR:g} on an accelerator)",
    )  # fmt: skip
    parser.add_argument(
        "--concurrency", default=DEFAULT_CONCURRENCY, metavar="N,N,...",
        help="numbers of callers at once (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=1, help="measurements of each number (default: 1)"
    )
    parser.add_argument("--decoding", choices=get_args(Decoding), default="greedy")
    parser.add_argument("--slots", type=int, help="segments that generate at once")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write all figures as JSON")


def make_plan(parsed: argparse.Namespace, recordings: Sequence[Path]) -> Plan:
    """Validate the values of `add_benchmark_options`.

    Args:
        parsed: the parsed options.
        recordings: audio files in any format that `mt3_model/audio` reads.

    Raises:
        OptionError: a value is out of its range.
    """
    seconds: float | None = parsed.seconds
    concurrency: str = parsed.concurrency
    if seconds is not None and not 0 < seconds < math.inf:
        raise OptionError("seconds", f"--seconds is {seconds:g}; expected more than 0")
    if parsed.rounds < 1:
        raise OptionError("rounds", f"--rounds is {parsed.rounds}; expected 1 or more")
    parts = [part.strip() for part in concurrency.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise OptionError(
            "concurrency",
            f"--concurrency is {concurrency!r}; expected numbers of callers, such as"
            f" {DEFAULT_CONCURRENCY}",
        )
    return Plan(
        recordings=tuple(recordings),
        seconds=seconds,
        concurrency=tuple(int(part) for part in parts),
        rounds=parsed.rounds,
        decoding=parsed.decoding,
    )
