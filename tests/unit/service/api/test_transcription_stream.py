"""One stream without HTTP: when its resources are released, and what its readers receive."""

import asyncio
import contextlib

from mt3_model.notes.note import NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    Usage,
)
from service.api.server_sent_events import StreamIdentity
from service.api.stream_registry import StreamRegistry
from service.auth.caller import ANONYMOUS
from service.transcription_events import Completed, Progress, Started

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")
OPTIONS = TranscriptionOptions(precision="float32")
COMPLETED = Completed(
    transcription=Transcription(
        notes=NoteSequence(notes=(), total_time=0.0),
        model=MODEL,
        options=OPTIONS,
        duration_seconds=1.0,
        warnings=(),
        usage=Usage(audio_seconds=1.0, segments=1, tokens=1),
        invalid_events=0,
        dropped_events=0,
    )
)


def identity():
    return StreamIdentity(transcription_id="tr_1", created=0, model=MODEL, options=OPTIONS)


def new_streams():
    return StreamRegistry(resume_seconds=30.0, heartbeat_seconds=15.0, shutdown_grace_seconds=30.0)


async def transcription(*events):
    yield Started(audio_seconds=1.0)
    for event in events:
        await asyncio.sleep(0)
        yield event


async def test_the_last_event_is_published_after_the_resources_are_released():
    released = []

    async def release():
        for _ in range(10):
            await asyncio.sleep(0)
        released.append(True)

    held = contextlib.AsyncExitStack()
    held.push_async_callback(release)
    stream = await new_streams().start(transcription(COMPLETED), identity(), ANONYMOUS, held)
    assert released == []
    async for text in stream.follow():
        if b"event: completed" in text:
            assert released == [True]
    assert released == [True]


async def test_resources_are_released_if_the_stream_does_not_start():
    released = []

    async def refused():
        raise ValueError("no")
        yield

    for begin in (refused(), transcription()):
        held = contextlib.AsyncExitStack()
        held.callback(released.append, True)
        beginning = asyncio.create_task(new_streams().start(begin, identity(), ANONYMOUS, held))
        if begin.__name__ == "transcription":
            await asyncio.sleep(0)
            beginning.cancel()
        (outcome,) = await asyncio.gather(beginning, return_exceptions=True)
        assert isinstance(outcome, ValueError | asyncio.CancelledError)
    assert released == [True, True]


async def test_each_reader_starts_at_the_event_it_asks_for():
    progress = [
        Progress(done_seconds=float(i), total_seconds=None, segments=i) for i in range(1, 4)
    ]
    stream = await new_streams().start(
        transcription(*progress, COMPLETED), identity(), ANONYMOUS, contextlib.AsyncExitStack()
    )
    for after in range(6):
        chunks = [chunk async for chunk in stream.follow(after)]
        ids = [line for chunk in chunks for line in chunk.split(b"\n") if line.startswith(b"id")]
        assert ids == [b"id: %d" % number for number in range(after + 1, 6)]
    assert (stream.is_ended, stream.last_id) == (True, 5)


async def test_the_fraction_of_an_unknown_or_understated_length_is_none_or_all():
    progress = [
        Progress(done_seconds=1.0, total_seconds=total, segments=1) for total in (None, 0.5, 3.0)
    ]
    stream = await new_streams().start(
        transcription(*progress, COMPLETED), identity(), ANONYMOUS, contextlib.AsyncExitStack()
    )
    text = b"".join([chunk async for chunk in stream.follow()]).decode()
    assert [line.rsplit('"fraction":')[1] for line in text.split("\n") if "fraction" in line] == [
        "null}", "1.0}", "0.3333}",
    ]  # fmt: skip
