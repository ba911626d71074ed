"""Turn the driver's steps and the probes of `/health` into a table and a list of faults."""

from typing import Any

Steps = list[dict[str, Any]]
HEALTH_SECONDS = 0.1
"""Limit for the 95th percentile of `/health` under any load."""
REFUSAL_SECONDS = 1.0
"""Limit for the 95th percentile of refusals; some of them need the whole upload."""


def add_health(steps: Steps, probes: list[dict[str, Any]]) -> None:
    """Add to each step the response times of `/health` during it."""
    for step in steps:
        during = [p for p in probes if step["began"] <= p["at"] <= step["ended"]]
        seconds = sorted(p["seconds"] for p in during if p["seconds"] is not None)
        last = len(seconds) - 1
        step["health"] = {
            "asked": len(during),
            "unanswered": len(during) - len(seconds),
            "p50": seconds[last // 2] if seconds else None,
            "p95": seconds[int(0.95 * last)] if seconds else None,
            "max": seconds[last] if seconds else None,
        }


def find_faults(steps: Steps) -> list[str]:
    """Return the faults that no load excuses, each with its step."""
    faults: list[str] = []
    for step in steps:
        found: list[str] = []
        if step["failed"]:
            found.append(f"{step['failed']} requests failed, the first: {step['errors'][0]}")
        if step["hung"]:
            found.append(f"{step['hung']} requests hung")
        if step["refusals_without_retry_after"]:
            found.append(f"{step['refusals_without_retry_after']} refusals without Retry-After")
        refusals = step["refusal_seconds"]
        if refusals and refusals["p95"] > REFUSAL_SECONDS:
            found.append(f"refusals took {refusals['p95']:.2f} s (p95)")
        health = step["health"]
        if health["unanswered"]:
            found.append(f"/health was not answered {health['unanswered']} times")
        if health["p95"] is not None and health["p95"] > HEALTH_SECONDS:
            found.append(f"/health took {1_000 * health['p95']:.0f} ms (p95)")
        faults += [f"{step['name']}: {fault}" for fault in found]
    return faults


def to_table(steps: Steps) -> str:
    """Return a line for each step: seconds, but milliseconds for refusals and `/health`."""
    header = (
        f"{'step':<24} {'accepted':>8} {'refused':>7} {'errors':>6} {'audio s/s':>9}"
        f" {'answers/s':>9}  {'latency p50/p95/p99':<19}  {'first note p50/p95':<18}"
        f"  {'refusal p95 ms':>14}  {'/health p50/p95/max ms':<22}"
    )
    return "\n".join([header, *map(_line, steps)])


def describe_retry_after(steps: Steps) -> str:
    """Describe how accurate `Retry-After` was."""
    retries = sum(step["retries"] for step in steps)
    accepted = sum(step["retries_accepted"] for step in steps)
    words = (
        f"Of {retries} retries after Retry-After (competing callers), {accepted} were accepted."
        if retries
        else "No request was refused in a closed loop, so no caller waited for Retry-After."
    )
    for step in steps:
        if step["retry_after"]:
            single = step["retry_after"]
            words += (
                f"\nWithout competitors: Retry-After {single['retry_after_seconds']:.0f} s,"
                f" accepted after {single['accepted_after_seconds']:.1f} s."
            )
    return words


def _line(step: dict[str, Any]) -> str:
    health = step["health"]
    return (
        f"{step['name']:<24} {step['accepted']:>8} {step['refused']:>7} {step['failed']:>6}"
        f" {step['audio_seconds_per_second']:>9.1f} {step['answers_per_second']:>9.1f}"
        f"  {_join(step['latency_seconds'], ('p50', 'p95', 'p99'), 1, 2):<19}"
        f"  {_join(step['first_note_seconds'], ('p50', 'p95'), 1, 2):<18}"
        f"  {_join(step['refusal_seconds'], ('p95',), 1_000, 0):>14}"
        f"  {_join(health, ('p50', 'p95', 'max'), 1_000, 0):<22}"
    )


def _join(
    values: dict[str, float | None] | None, names: tuple[str, ...], factor: float, digits: int
) -> str:
    found = [None if values is None else values[name] for name in names]
    return "/".join("-" if value is None else f"{factor * value:.{digits}f}" for value in found)
