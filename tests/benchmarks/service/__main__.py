"""Measure what the host costs for each second of audio, with a device of an accelerator's pace.

python -m tests.benchmarks.service [--callers 1,4,16,64] [--kind ogg] [--form json] [--json OUT]

A server process with everything but the model (`server.py`) is called over HTTP. Where the time of
a shared machine says little, processor seconds say how many cores carry a rate:
``processor seconds of one second of audio x rate``.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.service.material import FORMATS, write_song
from tests.benchmarks.service.stages import measure_stages

_RATE = 2_000
"""Times real time that one device's host must carry."""


class _Server:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self._port = port

    def post(self, body: bytes, form: str) -> tuple[int, int]:
        """Send a recording; return the status and the size of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        with contextlib.closing(connection):
            connection.request("POST", f"/v1/transcriptions?response_format={form}", body)
            response = connection.getresponse()
            return response.status, len(response.read())

    def is_ready(self) -> bool:
        """Return whether the server is ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    def report(self) -> dict[str, Any]:
        """Return the counts so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def _running(shapes: str, processes: int) -> Generator[_Server]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.benchmarks.service.server"),
            *("--shapes", shapes, "--processes", str(processes)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        server = _Server(process, int(process.stdout.readline()))
        while not server.is_ready():
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _measure(
    server: _Server, body: bytes, *, callers: int, songs: int, seconds: float, form: str
) -> dict[str, Any]:
    """Send ``songs`` recordings, ``callers`` at a time."""
    before = server.report()
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        answers = [*pool.map(lambda _: server.post(body, form), range(songs))]
    wall = time.perf_counter() - began
    after = server.report()
    statuses = collections.Counter(status for status, _ in answers)
    audio = seconds * statuses[200]
    cpu = {place: after["cpu"][place] - before["cpu"][place] for place in after["cpu"]}
    each = {place: spent / max(audio, 1e-9) for place, spent in cpu.items()}
    return {
        "callers": callers,
        "songs": songs,
        "statuses": dict(statuses),
        "times_real_time": audio / wall,
        "iterations": after["iterations"] - before["iterations"],
        "inserts": after["inserts"] - before["inserts"],
        "device_share": (after["slept"] - before["slept"]) / wall,
        "cpu_seconds_per_song": {place: spent * seconds for place, spent in each.items()},
        "cores_needed": _RATE * sum(each.values()),
        "cores_needed_in_the_process": _RATE * (sum(each.values()) - each["processes"]),
    }


def _row(result: Mapping[str, Any]) -> str:
    cpu = result["cpu_seconds_per_song"]
    spent = "  ".join(f"{place} {seconds:.3f}" for place, seconds in cpu.items())
    return (
        f"{result['callers']:3} callers, {result['songs']} songs, {result['statuses']}:"
        f" {result['times_real_time']:.0f} x real time, {result['iterations']} iterations,"
        f" device busy {result['device_share']:.0%}\n"
        f"    CPU s of a song: {spent}\n"
        f"    cores for {_RATE} x: {result['cores_needed']:.1f}, of which in the server's process"
        f" {result['cores_needed_in_the_process']:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--callers", default="1,4,16,64")
    parser.add_argument("--songs", type=int, default=0, help="0: as many as callers, at least 4")
    parser.add_argument("--seconds", type=float, default=178.0)
    parser.add_argument("--kind", choices=sorted(FORMATS), default="ogg")
    parser.add_argument("--form", default="json")
    parser.add_argument("--shapes", default="64/128/256/512x16/64x16")
    parser.add_argument("--processes", type=int, default=1, help="that work on recordings")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    song = write_song(arguments.seconds, arguments.kind)
    stages = measure_stages(song, arguments.seconds)
    for name, seconds in stages.items():
        print(f"{name:20} {seconds:.3f} CPU s of a song, alone")
    results: list[dict[str, Any]] = []
    with _running(arguments.shapes, arguments.processes) as server:
        server.post(song, arguments.form)  # imports, and first uses
        for callers in map(int, arguments.callers.split(",")):
            result = _measure(
                server,
                song,
                callers=callers,
                songs=arguments.songs or max(callers, 4),
                seconds=arguments.seconds,
                form=arguments.form,
            )
            results.append(result)
            print(_row(result), flush=True)
    if arguments.json is not None:
        content = {"song": vars(arguments) | {"json": None}, "stages": stages, "callers": results}
        arguments.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
