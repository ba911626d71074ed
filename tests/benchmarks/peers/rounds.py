"""Several systems, one recording, several rounds: who works when, and what the times say.

Rounds are interleaved (ours, A, B, ours, A, B, ...) and one process works at a time, so a machine
that slows down or speeds up does so for all. What is compared is the ratio of times of one round;
times of different rounds or runs are not.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.benchmarks.peers.runner_process import RunnerError

OURS = "ours"


class Transcriber(Protocol):
    """What a round needs of a runner."""

    def transcribe(self, recording: Path, midi: Path) -> float:
        """Seconds that it took."""
        ...


@dataclasses.dataclass(kw_only=True)
class Timings:
    """One system on one recording."""

    seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    """By round."""
    failure: str | None = None
    """Why it stopped, if it did."""


def interleave(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Gives (round, system), every system once in each round, always in the same order."""
    for number in range(rounds):
        for name in names:
            yield number, name


def time_rounds(
    runners: Mapping[str, Transcriber],
    recording: Path,
    rounds: int,
    midi_of: Callable[[str], Path],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Timings]:
    """Times every system on a recording; one that fails is left out of the rounds that follow.

    Args:
        runners: The systems in the order of a round.
        recording: What they transcribe.
        rounds: How often.
        midi_of: Where a system's MIDI file goes; the last round's stays.
        tell: Told of each time.
    """
    timings = {name: Timings() for name in runners}
    for number, name in interleave(list(runners), rounds):
        timing = timings[name]
        if timing.failure is not None:
            continue
        try:
            timing.seconds[number] = runners[name].transcribe(recording, midi_of(name))
            tell(f"round {number + 1}  {name:18s} {timing.seconds[number]:8.2f} s")
        except RunnerError as error:
            timing.failure = str(error)
            tell(timing.failure)
    return timings


def ratios(ours: Timings, theirs: Timings) -> list[float]:
    """How many times faster we are: their seconds by ours, for each round that both finished."""
    return [
        theirs.seconds[number] / ours.seconds[number]
        for number in sorted(ours.seconds.keys() & theirs.seconds.keys())
    ]


def median(values: Sequence[float]) -> float | None:
    """The median, or None of nothing."""
    return statistics.median(values) if values else None
