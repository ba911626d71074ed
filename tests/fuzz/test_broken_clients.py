"""A short run of every broken client against a live server, with a fixed seed."""

from tests.fuzz import parts
from tests.fuzz.broken_clients import SHORT
from tests.fuzz.running_server import started


def test_broken_clients_break_nothing(tmp_path):
    with started(tmp_path) as server:
        notes = parts.warm_up(server)
        assert [note["pitch"] for note in notes] == [60, 36, 61, 36]  # fake_backend.py
        reports = parts.fuzz_clients(server, notes, seed=1, extent=SHORT)
        assert {report.name: report.violations for report in reports if report.violations} == {}
        assert sum(report.tried for report in reports) > 500
        assert server.faults() == []
