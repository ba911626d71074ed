"""The summary of a run of `mt3 bulk`, and the state of an output, as counts and as text."""

import dataclasses
from typing import Any

from service.bulk.bulk_plan import ERROR_SUFFIX, BulkPlan
from service.bulk.listing import list_recordings
from service.storage.objects import open_objects


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Recordings of a run, each counted once."""

    listed: int = 0
    done: int = 0
    failed: int = 0
    """Recordings with an error record that this run wrote."""
    postponed: int = 0
    """Recordings for which storage or device did not respond; the next run tries them."""
    skipped: int = 0
    """Recordings whose results existed before the run."""
    failed_before: int = 0
    """Recordings that had an error record before the run."""
    audio_seconds: float = 0.0
    """Total length of the recordings done."""
    wall_seconds: float = 0.0

    @property
    def seen(self) -> int:
        """Number of recordings whose outcome is known."""
        return self.done + self.failed + self.postponed + self.skipped + self.failed_before

    @property
    def lost(self) -> int:
        """Number of recordings without an outcome; 0 unless this code has a bug."""
        return self.listed - self.seen

    @property
    def is_complete(self) -> bool:
        """Whether every recording has its results."""
        return self.done + self.skipped == self.listed

    def plus(self, row: dict[str, Any]) -> "Summary":
        """Return the sum with an actor's row, whose columns are fields of this class."""
        return dataclasses.replace(
            self, **{name: getattr(self, name) + count for name, count in row.items()}
        )

    def after(self, wall_seconds: float) -> "Summary":
        """Return a copy with the duration of the run."""
        return dataclasses.replace(self, wall_seconds=wall_seconds)

    def to_json(self) -> dict[str, float]:
        """Return all counts and the speed as a JSON object."""
        return {
            **dataclasses.asdict(self),
            "lost": self.lost,
            "audio_hours_per_hour": self._hours_per_hour(),
        }

    def to_text(self) -> str:
        """Return one line for people."""
        parts = [f"{self.done} done", f"{self.failed} failed", f"{self.skipped} skipped"]
        if self.failed_before:
            parts.append(f"{self.failed_before} failed before (--retry-failed tries them again)")
        if self.postponed:
            parts.append(f"{self.postponed} postponed (storage or device; run it again)")
        if self.lost:
            parts.append(f"{self.lost} unaccounted for (run it again)")
        return (
            f"{', '.join(parts)} of {self.listed} recordings;"
            f" {self.audio_seconds / 3600:.2f} hours of audio in {self.wall_seconds:.0f} s:"
            f" {self._hours_per_hour():.1f} audio hours per hour"
        )

    def _hours_per_hour(self) -> float:
        return self.audio_seconds / max(self.wall_seconds, 1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OutputState:
    """The state of an output, counted from its objects."""

    recordings: int
    results: int
    error_records: int

    def to_text(self) -> str:
        """Return one line for people."""
        left = max(self.recordings - self.results - self.error_records, 0)
        return (
            f"{self.results} done, {self.error_records} failed, {left} left"
            f" of {self.recordings} recordings"
        )


def read_state(plan: BulkPlan) -> OutputState:
    """Count recordings, results and error records from two listings, in constant memory.

    Raises:
        StorageError: input or output cannot be listed.
    """
    last_suffix = plan.forms[-1].suffix
    results = error_records = 0
    for stored in open_objects(plan.output_url, any_key=True).iterate():
        if stored.key.endswith(ERROR_SUFFIX):
            error_records += 1
        elif stored.key.endswith(last_suffix) and plan.is_wanted(
            stored.key.removesuffix(last_suffix)
        ):
            results += 1
    return OutputState(
        recordings=sum(1 for _ in list_recordings(plan)),
        results=results,
        error_records=error_records,
    )
