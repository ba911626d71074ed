"""What was measured, as values and as JSON; `table.py` writes it for a terminal.

The JSON is stable: fields may be added, none changes its name or meaning within one ``format``.
Fields end with their unit; shares run from 0 to 1; what was not measured is ``null``.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from mt3_model.notes.transcription import Decoding, ModelProvenance
from service.benchmark.callers import CallersResult
from service.benchmark.machine import Machine

FORMAT = 2
StageName = Literal["decode", "mel", "encode", "generate", "notes", "export"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of one recording, measured alone."""

    name: StageName
    seconds: float
    """For a recording of the benchmark's length: ``units`` times ``unit_seconds``."""
    units: int
    unit: str
    """What the stage is counted in: ``recording``, ``segment``, ``token``."""

    @property
    def unit_seconds(self) -> float:
        """Of one segment, token or recording."""
        return self.seconds / self.units


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFigures:
    """Most memory in use at once, when callers and stages were done."""

    resident_peak_bytes: int
    """Of this process; the processes that read recordings are not in it."""
    device_peak_bytes: int | None
    """Of the device; absent where it does not say, as CPUs."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What was measured with."""

    recordings: tuple[str, ...]
    """Names without folders, or that of the synthesized piece."""
    seconds: float
    """Length of each caller's recording."""
    rounds: int
    decoding: Decoding
    slots: int
    encode_batch: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkReport:
    """Everything."""

    date: str
    """ISO 8601, UTC, when it began."""
    model: ModelProvenance
    setting: Setting
    machine: Machine
    versions: Mapping[str, str]
    load_seconds: float | None
    """Finding and reading the checkpoint, a download not excepted."""
    warm_up_seconds: float
    callers: tuple[CallersResult, ...]
    stages: tuple[Stage, ...]
    memory: MemoryFigures

    def to_json(self) -> str:
        """Writes one JSON object; the folder's README names its fields."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "date": self.date,
            "model": dataclasses.asdict(self.model),
            "setting": dataclasses.asdict(self.setting),
            "machine": dataclasses.asdict(self.machine),
            "versions": dict(self.versions),
            "load_seconds": self.load_seconds,
            "warm_up_seconds": self.warm_up_seconds,
            "concurrency": [
                dataclasses.asdict(result)
                | {
                    "audio_seconds_per_second": result.throughput,
                    "tokens_per_second": result.tokens_per_second,
                }
                for result in self.callers
            ],
            "stages": [
                dataclasses.asdict(stage) | {"unit_seconds": stage.unit_seconds}
                for stage in self.stages
            ],
            "memory": dataclasses.asdict(self.memory),
        }
        return json.dumps(content, indent=1)
