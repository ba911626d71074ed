"""Format a benchmark's report as aligned text."""

from collections.abc import Sequence

from mt3_model.notes.transcription import ModelProvenance
from service.benchmark.benchmark_report import BenchmarkReport, Setting, Stage
from service.benchmark.machine import Machine

_STAGE_NOTE = "each stage alone, warm; mel is part of encode and not added again"
_LATENCY_NOTE = """\
latency of one caller from its call, all callers starting at once; first notes: those of the first
segment; last: the complete result. slots: share of the slots in use, averaged over device time."""
_MIB = 1 << 20


def describe(
    setting: Setting, model: ModelProvenance, machine: Machine, concurrency: Sequence[int]
) -> str:
    """Describe the measurement and the machine."""
    callers = ", ".join(map(str, concurrency))
    rounds = "" if setting.rounds == 1 else f", {setting.rounds} rounds"
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / 2**30:.0f} GiB"
    device = f"{machine.devices} x {machine.device}" if machine.devices else machine.device
    sounds = ", ".join(setting.recordings)
    programs = f"{model.precision} by {_programs(model)}"
    lines = [
        f"model: {model.name}, {programs}, {setting.decoding}; {setting.slots} slots",
        f"machine: {machine.processor}, {machine.cores} cores{memory}; device: {device}",
        f"measured: {callers} callers at once{rounds}, each with {setting.seconds:g} s of {sounds}",
    ]
    return "\n".join(lines)


def _programs(model: ModelProvenance) -> str:
    """Name the programs that compute, and the instruction set where there is one."""
    return " on ".join(filter(None, (model.kernels, model.instruction_set)))


def to_table(report: BenchmarkReport) -> str:
    """Format all figures for a terminal."""
    parts = [_callers_table(report), _LATENCY_NOTE, "", *_stages_table(report.stages)]
    parts += ["", _memory_line(report), _start_line(report)]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts += [
        "",
        f"mt3-service {report.model.code_version}, {versions}, {report.date}",
        f"checkpoint {report.model.name} {report.model.checkpoint_sha256}",
    ]
    return "\n".join(parts)


def _callers_table(report: BenchmarkReport) -> str:
    rows = [
        ["", "audio s", "", "first notes, s", "", "", "last notes, s", "", "", "", ""],
        ["callers", "per s", "wall s", "p50", "p90", "max", "p50", "p90", "max", "tokens/s",
         "slots"],
    ]  # fmt: skip
    for result in report.callers:
        first, last = result.first_notes_seconds, result.last_notes_seconds
        rows.append(
            [
                str(result.callers),
                _number(result.throughput),
                _number(result.wall_seconds),
                *map(_number, (first.p50, first.p90, first.max)),
                *map(_number, (last.p50, last.p90, last.max)),
                f"{result.tokens_per_second:.0f}",
                _percent(result.slot_fill),
            ]
        )
    return _align(rows, heads=2)


def _stages_table(stages: Sequence[Stage]) -> list[str]:
    rows = [["stage", "s", "units", "each"]]
    rows += [
        [
            stage.name,
            f"{stage.seconds:.3f}",
            f"{stage.units} {stage.unit}{'s' if stage.units != 1 else ''}",
            _milliseconds(stage.unit_seconds),
        ]
        for stage in stages
    ]
    total = sum(stage.seconds for stage in stages if stage.name != "mel")
    rows.append(["total", f"{total:.3f}", "", ""])
    return [_align(rows, heads=1), _STAGE_NOTE]


def _memory_line(report: BenchmarkReport) -> str:
    memory = report.memory
    device = memory.device_peak_bytes
    on_device = "" if device is None else f"; device {device / _MIB:,.0f} MiB"
    return f"peak memory: {memory.resident_peak_bytes / _MIB:,.0f} MiB resident{on_device}"


def _start_line(report: BenchmarkReport) -> str:
    load = "" if report.load_seconds is None else f"loading {report.load_seconds:.1f} s, "
    return f"start: {load}warming up {report.warm_up_seconds:.1f} s"


def _align(rows: Sequence[Sequence[str]], *, heads: int) -> str:
    """Align the first column left and the others right, with a rule below the heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(heads, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _number(value: float) -> str:
    """Format with three significant digits below 100, and without decimals from there."""
    if value >= 100:  # noqa: PLR2004 (as the docstring says)
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def _milliseconds(seconds: float) -> str:
    return f"{1_000 * seconds:.2f} ms"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
