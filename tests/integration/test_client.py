"""The clients and the command against the real server, over a socket, with the fake backend."""

import asyncio
import contextlib
import io
import itertools
import json
import re
from pathlib import Path

import pytest

import service.client
from service.cli import main
from service.client import (
    AsyncClient,
    Client,
    Completed,
    InvalidRequestError,
    Note,
    NotFoundError,
    Started,
    UnauthorizedError,
)
from tests.integration.listening import listening
from tests.integration.serving import recording

SOUND = recording(9.0)
EXAMPLES = re.findall(
    r"```python\n(.*?)```",
    (Path(service.client.__path__[0]) / "README.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


@contextlib.asynccontextmanager
async def address(tmp_path, **settings):
    async with listening(tmp_path, **settings) as (port, _):
        yield f"http://127.0.0.1:{port}"


async def test_both_clients_read_the_same_answer(tmp_path):
    def ask(url):
        with Client(url) as client:
            client.wait_until_ready(5)
            assert client.health().status == "ok"
            assert client.ready().is_ready
            assert client.models()[0].id == "mt3"
            assert len(client.instruments()) == 128
            return client.transcribe(SOUND, start=1, decoding="greedy")

    async with address(tmp_path) as url, AsyncClient(url) as client:
        given = await client.transcribe(SOUND, start=1)
        assert given.notes == (await asyncio.to_thread(ask, url)).notes
        assert given.notes
        assert given.options.start == 1.0
        written = json.loads(await client.transcribe_to(SOUND, "json", start=1))
        assert len(written["notes"]) == len(given.notes)
        assert (await client.transcribe_to(SOUND, "midi")).startswith(b"MThd")


async def test_refusals_are_of_their_class(tmp_path):
    async with address(tmp_path, max_upload_bytes=300_000) as url, AsyncClient(url) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.transcribe(b"not audio")
        assert caught.value.code == "audio_undecodable"
        assert caught.value.request_id
        with pytest.raises(InvalidRequestError) as caught:
            await client.transcribe(SOUND, end=-1)
        assert caught.value.param == "end"
        with pytest.raises(NotFoundError, match="model_not_found"):
            await client.transcribe(SOUND, model="mt4")
        with pytest.raises(InvalidRequestError, match="audio_undecodable"):
            async for _ in client.stream(b"not audio"):
                pass


async def test_a_stream_tells_the_notes_of_the_answer(tmp_path):
    async with address(tmp_path) as url, AsyncClient(url) as client:
        events = [event async for event in client.stream(SOUND)]
        given = await client.transcribe(SOUND)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    assert events[-1].transcription.notes == given.notes
    assert sum(isinstance(event, Note) for event in events) == len(given.notes) > 3


@contextlib.asynccontextmanager
async def cutting(port, cuts):
    """Forwards connections, and cuts the response of each after a number of bytes; None: never."""
    connections, tasks = [], []

    async def pass_on(reader, writer):
        tasks.append(asyncio.current_task())
        upstream, upwriter = await asyncio.open_connection("127.0.0.1", port)
        connections.append(writer)

        async def send_up():
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    upwriter.write(data)
                    await upwriter.drain()
            upwriter.transport.abort()  # the client has disconnected

        sending = asyncio.create_task(send_up())
        left = next(cuts)
        with contextlib.suppress(ConnectionError):
            while data := await upstream.read(
                65_536 if left is None else max(1, min(left, 65_536))
            ):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if left == 0:
                    break
        for end in (upwriter, writer):
            end.transport.abort()
        await sending

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    await asyncio.gather(*tasks)


async def test_a_stream_cut_anywhere_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.0)
    resumed = 0
    async with listening(tmp_path) as (port, _):
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            whole = [event async for event in client.stream(SOUND)]
        for cut in range(0, 6_000, 487):
            cuts = itertools.chain([cut, cut // 2 + 400], itertools.repeat(None))
            async with cutting(port, cuts) as (url, connections), AsyncClient(url) as client:
                events = [event async for event in client.stream(SOUND)]
            resumed += len(connections) - 1
            # The first and the last tell this transcription's own id and times.
            assert events[1:-1] == whole[1:-1], cut
            assert events[-1].transcription.notes == whole[-1].transcription.notes
            assert events[-1].transcription.id == events[0].id
    assert resumed > 10


async def test_a_key_opens_and_another_is_refused(tmp_path):
    keys = "ada:mt3_" + "a" * 40
    async with address(tmp_path, api_keys=keys) as url:
        async with AsyncClient(url, api_key="mt3_" + "a" * 40) as client:
            assert (await client.transcribe(SOUND)).notes
        async with AsyncClient(url, api_key="mt3_" + "b" * 40) as client:
            # The refusal comes before the body is read, and the connection is reset.
            for large in (SOUND, bytes(5_000_000)):
                with pytest.raises(UnauthorizedError):
                    await client.transcribe(large)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_the_examples_of_the_chapter_run(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mp3").write_bytes(SOUND)
    (tmp_path / "uploads").mkdir()
    settings = {"jobs": ".submit(" in EXAMPLES[number], "data_dir": tmp_path / "data"}
    async with address(tmp_path / "uploads", **settings) as url:
        program = EXAMPLES[number].replace("http://localhost:8000", url)
        assert url in program or "verify_webhook" in program
        # Not capsys, whose standard error DBOS's logger would keep after its end.
        with contextlib.redirect_stdout(io.StringIO()) as said:
            await asyncio.to_thread(exec, compile(program, "README.md", "exec"), {})
    assert said.getvalue() or (tmp_path / "song.mid").read_bytes().startswith(b"MThd")


async def test_the_command_writes_what_a_server_answers(tmp_path, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.wav").write_bytes(SOUND)
    (tmp_path / "d.wav").write_bytes(b"not audio")
    (tmp_path / "uploads").mkdir()
    async with address(tmp_path / "uploads") as url:
        arguments = ["transcribe", str(tmp_path / "*.wav"), "-o", str(tmp_path / "out")]
        code = await asyncio.to_thread(main, [*arguments, "--format", "json", "--server", url])
        assert code == 1
        written = sorted((tmp_path / "out").iterdir())
        assert [path.name for path in written] == ["a.json", "b.json", "c.json"]
        assert json.loads(written[0].read_bytes())["notes"]
        complaint, summary = capsys.readouterr().err.splitlines()
        assert complaint.startswith(f"mt3: {tmp_path / 'd.wav'}: ")
        assert summary == "mt3: 3 written, 1 failed"
        code = await asyncio.to_thread(main, [*arguments, "--end", "-1", "--server", url])
        assert code == 2
        assert "end is" in capsys.readouterr().err
