"""Event streams for tests: a server behind a socket, a backend with a gate, and a reader.

The gate, and no sleep, decides what is still being generated."""

import contextlib
import dataclasses
import json
import threading

import httpx2

from mt3_model.notes.generated import FinishedSlot
from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.schemas import transcription_event as schemas
from tests.integration.listening import listening
from tests.integration.serving import loader, recording

URL = "/v1/transcriptions"
STREAM = {"stream": "true"}
SHAPES = {
    "transcription.started": schemas.StartedEvent,
    "segment": schemas.SegmentEvent,
    "note": schemas.NoteEvent,
    "final_note": schemas.FinalNoteEvent,
    "warning": schemas.WarningEvent,
    "progress": schemas.ProgressEvent,
    "completed": schemas.CompletedEvent,
    "error": schemas.ErrorEvent,
}


class Gated(FakeBackend):
    """Generates the segments before ``opened``; raises at a given one."""

    def __init__(self, opened=0, *, slots=4, encode_batch=2):
        super().__init__(MT3, slots=slots, encode_batch=encode_batch)
        self.opened = opened
        self.broken = False
        self.changed = threading.Condition()

    def open(self, count):
        with self.changed:
            self.opened = count
            self.changed.notify_all()

    def step(self):
        with self.changed:
            self.changed.wait(0.005)
        if self.broken:
            raise RuntimeError("secret detail")
        ended = [slot for slot, live in self._live.items() if live.index < self.opened]
        return [
            FinishedSlot(slot=slot, generated=self.generate(self._live.pop(slot).index))
            for slot in ended
        ]


@contextlib.asynccontextmanager
async def serving(tmp_path, backend=None, **settings):
    """Run a server behind a socket; yield its client, with the service and the streams."""
    load = loader(backend or FakeBackend(MT3, slots=4))
    async with (
        listening(tmp_path, load=load, **settings) as (port, service),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=400) as client,
    ):
        client.service = service
        client.port = port
        yield client


@dataclasses.dataclass(frozen=True)
class Event:
    id: int
    name: str
    data: dict


def parse(block):
    """Parse one event of the wire format; every line must be one that the server writes."""
    fields = {}
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        assert name in ("id", "event", "data"), line
        assert name not in fields
        fields[name] = value
    data = json.loads(fields["data"])
    assert data["type"] == fields["event"]
    SHAPES[fields["event"]].model_validate(data)
    return Event(id=int(fields["id"]), name=fields["event"], data=data)


async def events_of(response, comments=None):
    """Yield the events of a response as they arrive."""
    pending = ""
    is_first = True
    async for text in response.aiter_text():
        pending += text
        while "\n\n" in pending:
            block, pending = pending.split("\n\n", 1)
            if is_first:
                assert block == "retry: 1000"
                is_first = False
            elif block.startswith(":"):
                if comments is not None:
                    comments.append(block)
            else:
                yield parse(block)
    assert not pending


@contextlib.asynccontextmanager
async def streaming(client, seconds=9.0, **params):
    async with client.stream(
        "POST", URL, params={**STREAM, **params}, content=recording(seconds)
    ) as response:
        assert response.status_code == 200, await response.aread()
        yield response


async def take(events, count):
    return [await anext(events) for _ in range(count)]


async def resume(client, location, after=None, headers=None):
    sent = {**(headers or {}), **({} if after is None else {"Last-Event-ID": str(after)})}
    async with client.stream("GET", location, headers=sent) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in events_of(response)]


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]
