"""Reports of the parts, as a table and as JSON, and whether all are clean."""

import collections
import dataclasses
import json
from collections.abc import Iterable

from tests.fuzz.running_server import Census

REFUSALS = frozenset({"overloaded", "not_ready", "no_storage", "storage_full"})
"""Error codes of 5xx responses that are correct refusals."""


@dataclasses.dataclass(kw_only=True, slots=True)
class PartReport:
    """The report of one part, filled while it runs."""

    name: str
    tried: int = 0
    """Number of requests, broken connections, or inputs."""
    answers: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Counts by HTTP status, or by result of the input."""
    server_errors: int = 0
    """Number of 5xx responses that are not refusals."""
    violations: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    before: Census | None = None
    after: Census | None = None
    health: dict[str, float] | None = None
    """Latency of `/health` in seconds: `asked`, `median`, `p99`, `worst`, `unanswered`."""

    def count(self, status: int, code: str | None = None) -> None:
        """Count one response."""
        self.answers[str(status) if status < 500 else f"{status} {code or ''}".strip()] += 1
        if status >= 500 and code not in REFUSALS:
            self.server_errors += 1

    def check_leaks(self, *, memory_margin_bytes: int) -> None:
        """Compare the resource counts before and after.

        Args:
            memory_margin_bytes: freed memory that an allocator may keep.
        """
        if self.before is None or self.after is None:
            return
        for name in ("open_files", "children", "upload_files"):
            was, now = getattr(self.before, name), getattr(self.after, name)
            if now > was:
                self.violations.append(
                    f"{name} left over: {was} before, {now} after; {self.after.descriptors}"
                )
        grown = self.after.resident_bytes - self.before.resident_bytes
        if grown > memory_margin_bytes:
            self.violations.append(
                f"memory grew by {grown:,} bytes, more than the margin of {memory_margin_bytes:,}"
            )

    def conclude(self) -> None:
        """Add a violation if there were server errors."""
        if self.server_errors:
            self.violations.append(f"{self.server_errors} answers were 5xx: {dict(self.answers)}")


def is_clean(parts: Iterable[PartReport]) -> bool:
    """Whether no part has a violation."""
    return not any(part.violations for part in parts)


def to_json(parts: list[PartReport], **about: object) -> str:
    """Return all reports as JSON."""
    described = [
        # asdict would take a Counter apart.
        dataclasses.asdict(dataclasses.replace(part, answers=collections.Counter()))
        | {"answers": dict(part.answers)}
        for part in parts
    ]
    return json.dumps({**about, "clean": is_clean(parts), "parts": described}, indent=2)


def to_table(parts: list[PartReport]) -> str:
    """Return a table with a line for each part, followed by its violations."""
    lines = ["part              tried    5xx  seconds  memory MB      files      answers"]
    for part in parts:
        memory = files = "-"
        if part.before and part.after:
            sizes = (part.before.resident_bytes, part.after.resident_bytes)
            memory = " > ".join(f"{size / 1e6:.0f}" for size in sizes)
            files = f"{part.before.open_files} > {part.after.open_files}"
        answers = ", ".join(f"{name}: {count}" for name, count in sorted(part.answers.items()))
        lines.append(
            f"{part.name:<15} {part.tried:>7,} {part.server_errors:>6} {part.seconds:>8.1f}"
            f"  {memory:<13}  {files:<9}  {answers}"
        )
        if part.health:
            health = ", ".join(f"{name} {value:g}" for name, value in part.health.items())
            lines.append(f"    /health meanwhile: {health}")
        lines += [f"    VIOLATION: {violation}" for violation in part.violations]
    return "\n".join(lines)
