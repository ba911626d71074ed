"""The parts of a run, each with resource counts before and after and a watch on `/health`."""

import asyncio
import contextlib
import pathlib
import time

from tests.fuzz.broken_clients import BrokenClients, Extent
from tests.fuzz.contract import run_contract
from tests.fuzz.health_watch import watching
from tests.fuzz.report import PartReport
from tests.fuzz.running_server import RunningServer
from tests.fuzz.sounds import good_recording

MEMORY_MARGIN_BYTES = 64 * 2**20
"""Memory that malloc keeps for reuse. A leak of one recording (0.1 MB) per request would be some
hundred megabytes in a long run."""


def warm_up(server: RunningServer) -> list[dict[str, object]]:
    """Use the server once, so that resource counts include what it keeps anyway.

    Returns:
        The notes of a good recording.
    """
    for _ in range(8):
        notes = server.transcribe(good_recording())
    return notes


@contextlib.contextmanager
def measured(server: RunningServer, name: str, expected_notes: list[dict[str, object]]):
    """Run one part: yield its report to fill, then check the server for leaks and faults."""
    report = PartReport(name=name)
    report.before = server.census()
    began = time.monotonic()
    with watching(server.url) as health:
        yield report
    report.seconds = round(time.monotonic() - began, 1)
    report.health = dict(health)
    if health["unanswered"]:
        report.violations.append(f"/health was not answered {health['unanswered']} times")
    report.after = server.settled_census(report.before)
    try:
        if server.transcribe(good_recording()) != expected_notes:
            report.violations.append("a good recording has other notes than before")
    except OSError as error:
        report.violations.append(f"a good recording is not transcribed any more: {error}")
    report.conclude()
    report.check_leaks(memory_margin_bytes=MEMORY_MARGIN_BYTES)


def fuzz_contract(
    server: RunningServer,
    expected_notes: list[dict[str, object]],
    *,
    folder: pathlib.Path,
    seed: int,
    examples: int,
    seconds: float | None,
) -> PartReport:
    """Run the part "contract": schemathesis."""
    with measured(server, "contract", expected_notes) as report:
        run_contract(server, report, folder=folder, seed=seed, examples=examples, seconds=seconds)
    return report


def fuzz_clients(
    server: RunningServer,
    expected_notes: list[dict[str, object]],
    *,
    seed: int,
    extent: Extent,
) -> list[PartReport]:
    """Run the part "clients": each behavior of broken clients, one after the other."""
    clients = BrokenClients(server, seed=seed, extent=extent)
    reports = []
    for name, behave in clients.behaviors.items():
        with measured(server, name, expected_notes) as report:
            asyncio.run(behave(report))
        reports.append(report)
    return reports
