"""Fixtures for the tests of both clients."""

import pytest

from tests.unit.service.client.client_calls import Async, Sync


@pytest.fixture(params=[Sync(), Async()], ids=["sync", "async"])
def ask(request, monkeypatch):
    """Return a function that makes one call of a server, with short waits between attempts."""
    monkeypatch.delenv("MT3_API_KEY", raising=False)
    monkeypatch.setattr("random.random", lambda: 0.001)
    return request.param
