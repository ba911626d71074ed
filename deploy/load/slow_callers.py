"""`python slow_callers.py uploads|events URL`: measure the effect of many slow callers on others.

    uploads  256 uploads of 1.2 kB a second; then recordings of 2 MB and 16 kB, and a job in JSON
    events   300 event streams on 150 queued jobs; meanwhile `GET` of a job and `/health`

`events` needs a server whose first job never ends, so that the others stay queued
(`MT3_FAKE_ITERATION_SECONDS=3600 MT3_JOB_ITEMS_IN_FLIGHT=1`). Standard library only; prints one
line of JSON.
"""

import argparse
import asyncio
import contextlib
import http
import io
import json
import statistics
import time
import urllib.parse
import wave
from collections.abc import AsyncIterator
from typing import Any

_TRIES = 5
_SLOW_PIECE = b"x" * 1_200
_SETTLING_SECONDS = 10.0
"""Time from the last slow caller's start to the first measurement."""


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("uploads", "events"))
    parser.add_argument("url")
    parser.add_argument("--callers", type=int, help="slow uploads (256) or event streams (300)")
    parser.add_argument("--jobs", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long events measures")
    parser.add_argument(
        "--key", action="append", default=[], help="API keys of the slow callers, in turn"
    )
    parser.add_argument("--own-key", help="API key of the measured caller")
    parsed = parser.parse_args()
    measure = _measure_uploads if parsed.what == "uploads" else _measure_events
    print(json.dumps(asyncio.run(measure(parsed))))


async def _measure_uploads(parsed: argparse.Namespace) -> dict[str, Any]:
    async with asyncio.TaskGroup() as group:
        slow = [
            group.create_task(_upload_slowly(parsed.url, _key_of(parsed, number)))
            for number in range(parsed.callers or 256)
        ]
        await asyncio.sleep(_SETTLING_SECONDS)
        reference = json.dumps({"inputs": [{"url": "https://example.org/song.wav"}]}).encode()
        found: dict[str, Any] = {}
        for name, path, content, media_type in (
            ("recording_2_mb", "/v1/transcriptions?end=1", _recording(63.0), "audio/wav"),
            ("recording_16_kb", "/v1/transcriptions", _recording(0.5), "audio/wav"),
            ("job_in_json", "/v1/jobs", reference, "application/json"),
        ):
            found[name] = [
                await _post(parsed.url + path, content, media_type, parsed.own_key)
                for _ in range(_TRIES)
            ]
        found["slow_uploads_ended"] = sum(task.done() for task in slow)
        for task in slow:
            task.cancel()
    return found


async def _measure_events(parsed: argparse.Namespace) -> dict[str, Any]:
    content = json.dumps({"inputs": [{"url": "https://example.org/song.wav"}]}).encode()
    status, body, _ = await _request(
        parsed.url + "/v1/transcriptions", "POST", _recording(5.0), media_type="audio/wav",
        key=_key_of(parsed, 0), more=("Prefer: respond-async",),
    )  # fmt: skip
    if status != http.HTTPStatus.ACCEPTED:
        raise SystemExit(f"the first job was answered {status}: {body[:300]!r}")
    links: list[str] = []
    for number in range(parsed.jobs):
        key = _key_of(parsed, number)
        status, body, _ = await _request(parsed.url + "/v1/jobs", "POST", content, key=key)
        if status != http.HTTPStatus.ACCEPTED:
            raise SystemExit(f"a job was answered {status}: {body[:300]!r}")
        links.append(json.loads(body)["links"]["self"])
    before = await _time_requests(parsed, links, 5.0)
    async with asyncio.TaskGroup() as group:
        # The streams of one job have its owner's key.
        numbers = [number % parsed.jobs for number in range(parsed.callers or 300)]
        streams = [
            group.create_task(
                _read_events(f"{parsed.url}{links[number]}/events", _key_of(parsed, number))
            )
            for number in numbers
        ]
        await asyncio.sleep(_SETTLING_SECONDS)
        during = await _time_requests(parsed, links, parsed.seconds)
        open_streams = sum(not task.done() for task in streams)
        for task in streams:
            task.cancel()
    return {"without": before, "streams_open": open_streams, "with": during}


async def _time_requests(
    parsed: argparse.Namespace, links: list[str], seconds: float
) -> dict[str, Any]:
    """Request jobs one after another, and `/health` concurrently."""
    gets: list[float] = []
    probes: list[float] = []
    ending = time.perf_counter() + seconds

    async def probe() -> None:
        while time.perf_counter() < ending:
            probes.append((await _request(parsed.url + "/health", "GET"))[2])
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        group.create_task(probe())
        number = 0
        while time.perf_counter() < ending:
            index = number % len(links)
            status, _, took = await _request(
                parsed.url + links[index], "GET", key=_key_of(parsed, index)
            )
            assert status == http.HTTPStatus.OK, status
            gets.append(took)
            number += 1
    return {
        "get_median_ms": round(1_000 * statistics.median(gets), 1),
        "get_max_ms": round(1_000 * max(gets), 1),
        "gets": len(gets),
        "health_max_ms": round(1_000 * max(probes), 1),
    }


async def _upload_slowly(url: str, key: str | None) -> None:
    async with _connected(url) as (reader, writer):
        writer.write(_head(url + "/v1/transcriptions", "POST", 10_000_000, "audio/wav", key))
        answering = asyncio.ensure_future(reader.read())
        while not answering.done():
            writer.write(_SLOW_PIECE)
            await asyncio.wait([answering], timeout=1.0)


async def _read_events(url: str, key: str | None) -> None:
    async with _connected(url) as (reader, writer):
        writer.write(_head(url, "GET", 0, "", key))
        while await reader.read(1 << 16):
            pass


async def _post(url: str, content: bytes, media_type: str, key: str | None) -> dict[str, Any]:
    status, body, took = await _request(url, "POST", content, media_type=media_type, key=key)
    code = json.loads(body)["code"] if status >= http.HTTPStatus.BAD_REQUEST else None
    return {"status": status, "code": code, "seconds": round(took, 3)}


async def _request(
    url: str,
    method: str,
    content: bytes = b"",
    *,
    media_type: str = "application/json",
    key: str | None = None,
    more: tuple[str, ...] = (),
) -> tuple[int, bytes, float]:
    """Send a request over a new connection; return status, body and seconds."""
    began = time.perf_counter()
    async with _connected(url) as (reader, writer):
        writer.write(_head(url, method, len(content), media_type, key, "Connection: close", *more))
        with contextlib.suppress(ConnectionError):  # refused before the whole body was sent
            writer.write(content)
            await writer.drain()
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body, time.perf_counter() - began


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        yield reader, writer
    finally:
        writer.close()


def _head(
    url: str, method: str, length: int, media_type: str, key: str | None, *more: str
) -> bytes:
    parts = urllib.parse.urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", *more]
    if method == "POST":
        lines += [f"Content-Type: {media_type}", f"Content-Length: {length}"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _key_of(parsed: argparse.Namespace, number: int) -> str | None:
    return parsed.key[number % len(parsed.key)] if parsed.key else None


def _recording(seconds: float) -> bytes:
    """Return a square wave of 440 Hz as WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        period = b"\x00\x08" * 18 + b"\x00\xf8" * 18
        file.writeframes(period * round(seconds * 16_000 / 36))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
