"""A short run of schemathesis against a live server, with a fixed seed."""

from tests.fuzz import parts
from tests.fuzz.running_server import started


def test_the_live_contract_holds(tmp_path):
    with started(tmp_path) as server:
        notes = parts.warm_up(server)
        report = parts.fuzz_contract(
            server, notes, folder=tmp_path, seed=1, examples=10, seconds=None
        )
        assert report.violations == []
        assert report.tried > 100
        assert report.answers["200"] > 0
        assert server.faults() == []


def test_the_live_contract_holds_with_keys(tmp_path):
    key = "mt3_" + "k" * 40
    with started(tmp_path, MT3_API_KEYS=f"fuzz:{key}") as server:
        server.headers["Authorization"] = f"Bearer {key}"
        notes = parts.warm_up(server)
        report = parts.fuzz_contract(
            server, notes, folder=tmp_path, seed=2, examples=5, seconds=None
        )
        assert report.violations == []
        assert report.answers["200"] > 0
        assert server.faults() == []
