"""Format the measurements as a table for a terminal and as JSON."""

import dataclasses
import platform
from collections.abc import Mapping
from typing import Any

from service.benchmark.machine import describe_machine as describe_processor
from tests.benchmarks.peers.quality import Quality
from tests.benchmarks.peers.rounds import OURS, Timings, median, ratios
from tests.benchmarks.peers.systems import READ_FIGURES

_COLUMNS = ("load s", "median s", "min s", "x real", "ours is", "notes", "onset", "full", "peak MB")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One system on one recording."""

    timings: Timings
    quality: Quality | None
    """None if no round was finished."""
    device: str | None
    load_seconds: float | None
    peak_megabytes: int | None


def rows_of(
    measurements: Mapping[str, Measurement], audio_seconds: float
) -> dict[str, dict[str, Any]]:
    """Return one recording's figures by system, for the JSON."""
    ours = measurements[OURS].timings if OURS in measurements else Timings()
    rows = {
        name: _row(measurement, [] if name == OURS else ratios(ours, measurement.timings))
        | {"times_real_time": _times_real_time(measurement.timings, audio_seconds)}
        for name, measurement in measurements.items()
    }
    return {
        name: {key: _rounded(value) for key, value in row.items()} for name, row in rows.items()
    }


def to_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Format one recording's figures, followed by the failures."""
    lines = [f"{'system':18s}" + "".join(f"{title:>10s}" for title in _COLUMNS) + "  device"]
    for name, row in rows.items():
        ratio = row["ours_times_faster"]
        cells = (
            _number(row["load_seconds"], 1),
            _number(row["median_seconds"], 2),
            _number(row["min_seconds"], 2),
            _number(row["times_real_time"], 2),
            "-" if ratio is None else f"{ratio:.2f}x",
            _number(row["notes"], 0),
            _number(row["onset_f1"], 3),
            _number(row["full_f1"], 3),
            _number(row["peak_megabytes"], 0),
        )
        line = f"{name:18s}" + "".join(f"{cell:>10s}" for cell in cells)
        lines.append(f"{line}  {row['device'] or '-'}")
    lines += [f"FAILED {row['failure']}" for row in rows.values() if row["failure"]]
    return "\n".join(lines)


def read_figures_table() -> str:
    """Format the published figures of systems that are not run here."""
    lines = ["Read, not measured here (another machine: no ratio is made of them):"]
    lines += [f"  {entry.system:26s}{entry.figure} [{entry.why}]" for entry in READ_FIGURES]
    return "\n".join(lines)


def describe_machine(threads: int) -> dict[str, Any]:
    """Describe the hardware of the measurement."""
    machine = describe_processor(with_device=False)
    return {
        "processor": machine.processor,
        "cores": machine.cores,
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _row(measurement: Measurement, of_rounds: list[float]) -> dict[str, Any]:
    seconds = list(measurement.timings.seconds.values())
    quality = measurement.quality
    return {
        "device": measurement.device,
        "load_seconds": measurement.load_seconds,
        "seconds": seconds,
        "median_seconds": median(seconds),
        "min_seconds": min(seconds, default=None),
        "ours_times_faster_by_round": of_rounds,
        "ours_times_faster": median(of_rounds),
        "notes": quality and quality.notes,
        "onset_f1": quality and quality.onset_f1,
        "full_f1": quality and quality.full_f1,
        "peak_megabytes": measurement.peak_megabytes,
        "failure": measurement.timings.failure,
    }


def _times_real_time(timings: Timings, audio_seconds: float) -> float | None:
    typical = median(list(timings.seconds.values()))
    return None if typical is None else audio_seconds / typical


def _rounded(value: Any) -> Any:
    """Round floats to four decimals: finer is noise."""
    match value:
        case float():
            return round(value, 4)
        case list():
            return [_rounded(item) for item in value]
        case _:
            return value


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
