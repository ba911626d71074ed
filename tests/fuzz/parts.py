"""The parts of a run, each with its census before and after and `/health` watched meanwhile."""

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
"""Threads' arenas and buffers that were used once and that malloc keeps; a leak of one recording
(0.1 MB) in each of the requests of a long run would be some hundred megabytes."""
HEALTH_MEDIAN_SECONDS = 0.1
"""`/health` must answer within this in the median; issue 4's bound under load."""


def warm_up(server: RunningServer) -> list[dict[str, object]]:
    """Has the server do everything once, so that a census finds what it needs anyway.

    Returns:
        The notes of a good recording.
    """
    for _ in range(8):
        notes = server.transcribe(good_recording())
    return notes


@contextlib.contextmanager
def measured(server: RunningServer, name: str, expected_notes: list[dict[str, object]]):
    """One part: gives its report to fill, then looks at what the server has become."""
    report = PartReport(name=name)
    report.before = server.census()
    began = time.monotonic()
    with watching(server.url) as health:
        yield report
    report.seconds = round(time.monotonic() - began, 1)
    report.health = dict(health)
    if health["unanswered"]:
        report.violations.append(f"/health was not answered {health['unanswered']} times")
    if health["median"] > HEALTH_MEDIAN_SECONDS:
        report.violations.append(f"/health took {health['median']} s in the median")
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
    """Part "contract": schemathesis."""
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
    """Part "clients": each way of being broken, one after the other."""
    clients = BrokenClients(server, seed=seed, extent=extent)
    reports = []
    for name, behave in clients.behaviours.items():
        with measured(server, name, expected_notes) as report:
            asyncio.run(behave(report))
        reports.append(report)
    return reports
