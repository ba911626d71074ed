"""A server behind a real socket, and a backend that waits for the test."""

import asyncio
import contextlib
import threading

import uvicorn

from mt3_model.spec import MT3
from service.api.app import create_app
from service.engine.fake_backend import FakeBackend
from service.settings import Settings
from tests.integration.serving import loader
from tests.waiting import until


class Held(FakeBackend):
    """Generates only after `go` is set; records the inserted segments."""

    def __init__(self, *, slots=1, **options):
        super().__init__(MT3, slots=slots, **options)
        self.go = threading.Event()
        self.inserted = 0

    def insert(self, entries):
        self.inserted += len(entries)
        super().insert(entries)

    def step(self):
        assert self.go.wait(120)
        return super().step()


@contextlib.asynccontextmanager
async def listening(tmp_path, *, load=None, **settings):
    """Run a server on a free port of the loopback; yield the port and the service."""
    app = create_app(Settings(upload_dir=tmp_path, **settings), load=load or loader())
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started and app.state.service.state.value == "ready")
        yield server.servers[0].sockets[0].getsockname()[1], app.state.service
    finally:
        server.should_exit = True
        await serving
