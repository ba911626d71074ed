"""Results of a benchmark, as dataclasses and as JSON; `table.py` writes them for a terminal.

The JSON is stable: fields may be added, none changes its name or meaning within one ``format``.
Names end with the unit; shares run from 0 to 1; what was not measured is ``null``.
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
    """Seconds for one recording: ``units`` times ``unit_seconds``."""
    units: int
    unit: str
    """Unit of ``units``: ``recording``, ``segment``, ``token``, ``note``."""

    @property
    def unit_seconds(self) -> float:
        """Seconds of one unit."""
        return self.seconds / self.units


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFigures:
    """Peak memory after all measurements."""

    resident_peak_bytes: int
    """Peak of this process, without the processes that read recordings."""
    device_peak_bytes: int | None
    """Peak of the device; None if the device does not report it, as on CPUs."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Inputs and options of the measurement."""

    recordings: tuple[str, ...]
    """File names without folders, or the name of the synthesized piece."""
    seconds: float
    """Length of each caller's recording."""
    rounds: int
    decoding: Decoding
    slots: int
    encode_batch: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkReport:
    """All results of one run."""

    date: str
    """Time of the start, ISO 8601 in UTC."""
    model: ModelProvenance
    setting: Setting
    machine: Machine
    versions: Mapping[str, str]
    load_seconds: float | None
    """Time to find and read the checkpoint, including a download."""
    warm_up_seconds: float
    callers: tuple[CallersResult, ...]
    stages: tuple[Stage, ...]
    memory: MemoryFigures

    def to_json(self) -> str:
        """Return one JSON object; the folder's README describes its fields."""
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
