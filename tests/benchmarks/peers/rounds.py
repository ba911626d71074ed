"""Time several systems on one recording in interleaved rounds, and compare them by ratio.

Rounds are interleaved (ours, A, B, ours, A, B, ...) and one process works at a time, so a machine
that slows down or speeds up does so for all. Times are compared within a round, never between
rounds or runs.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.benchmarks.peers.runner_process import RunnerError

OURS = "ours"


class Transcriber(Protocol):
    """The part of a runner that a round uses."""

    def transcribe(self, recording: Path, midi: Path) -> float:
        """Transcribe a recording and return the seconds it took."""
        ...


@dataclasses.dataclass(kw_only=True)
class Timings:
    """Times of one system on one recording."""

    seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    """Seconds by round."""
    failure: str | None = None
    """Reason why it stopped, if it did."""


def interleave(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, system): every system once per round, always in the same order."""
    for number in range(rounds):
        for name in names:
            yield number, name


def time_rounds(
    runners: Mapping[str, Transcriber],
    recording: Path,
    rounds: int,
    midi_of: Callable[[str], Path],
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Timings]:
    """Time every system on a recording; one that fails is skipped in the following rounds.

    Args:
        runners: the systems in the order of a round.
        recording: the audio file.
        rounds: number of rounds.
        midi_of: returns the path of a system's MIDI file; the last round's stays.
        show: receives one line for each time.
    """
    timings = {name: Timings() for name in runners}
    for number, name in interleave(list(runners), rounds):
        timing = timings[name]
        if timing.failure is not None:
            continue
        try:
            timing.seconds[number] = runners[name].transcribe(recording, midi_of(name))
            show(f"round {number + 1}  {name:18s} {timing.seconds[number]:8.2f} s")
        except RunnerError as error:
            timing.failure = str(error)
            show(timing.failure)
    return timings


def ratios(ours: Timings, theirs: Timings) -> list[float]:
    """Return their seconds divided by ours, for each round that both finished."""
    return [
        theirs.seconds[number] / ours.seconds[number]
        for number in sorted(ours.seconds.keys() & theirs.seconds.keys())
    ]


def median(values: Sequence[float]) -> float | None:
    """Return the median, or None for an empty sequence."""
    return statistics.median(values) if values else None
