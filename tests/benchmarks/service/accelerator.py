"""Measure the whole service on this machine's accelerator, over HTTP.

    python -m tests.benchmarks.service.accelerator --checkpoint FILE --song FILE --seconds 178

It starts `mt3 serve`, waits until it is ready, and sends the song from some callers at once:
latency, times real time, refusals, processor seconds of the server's process and of those below
it, and what `/metrics` says of the device. A song is sent alone and in company, and its notes are
compared. Then the server gets SIGTERM.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from tests.benchmarks.service.descendants import seconds_of_descendants

_FIGURES = (
    "mt3_visit_seconds_sum", "mt3_visit_seconds_count", "mt3_batch_fill_ratio_sum",
    "mt3_device_busy_seconds_total", "mt3_tokens_total", "mt3_model_load_seconds",
    "mt3_warm_up_seconds",
)  # fmt: skip
Key = TypeVar("Key")


class Answer(NamedTuple):
    """The answer to one recording."""

    status: int
    content: bytes
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether it is a transcription."""
        return self.status == http.HTTPStatus.OK


class Server:
    """`mt3 serve` as a process."""

    def __init__(self, checkpoint: Path, log: Path, settings: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        began = time.perf_counter()
        self._log = log.open("ab")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from service.cli import program; program()", "serve"),
                *("--host", "127.0.0.1", "--port", str(self._port)),
            ],
            env=os.environ | {"MT3_CHECKPOINT": str(checkpoint), "MT3_JOBS": "false"} | settings,
            stdout=self._log,
            stderr=self._log,
        )
        self._tree = psutil.Process(self.process.pid)
        while self.get("/ready")[0] != http.HTTPStatus.OK:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            time.sleep(0.05)
        self.ready_seconds = time.perf_counter() - began

    def get(self, path: str) -> tuple[int, bytes]:
        """Request a path; status 0 while nothing listens."""
        return self._request("GET", path, None)

    def post(self, body: bytes, query: str = "response_format=json") -> tuple[int, bytes]:
        """Send a recording."""
        return self._request("POST", f"/v1/transcriptions?{query}", body)

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        return 0, b""

    def figures(self) -> dict[str, float]:
        """Return processor seconds by process, and figures of `/metrics`."""
        own = self._tree.cpu_times()
        return {
            **read_figures(self.get("/metrics")[1].decode()),
            "cpu_server": own.user + own.system,
            "cpu_children": seconds_of_descendants(self._tree),
            "memory_server": float(self._tree.memory_info().rss),
        }

    def threads(self) -> dict[int, float]:
        """Return processor seconds by thread of the server's process."""
        return {thread.id: thread.user_time + thread.system_time for thread in self._tree.threads()}

    def stop(self) -> dict[str, Any]:
        """Send SIGTERM; return the exit code and the seconds until then."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        return {"exit_code": code, "seconds": round(time.perf_counter() - began, 2)}


def read_figures(metrics: str) -> dict[str, float]:
    """Return the values of `_FIGURES` in the text of `/metrics`."""
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith(_FIGURES)]
    return {name: float(value) for name, value in lines}


def digest_notes(answer: bytes) -> tuple[int, str]:
    """Return the number of notes of an answer, and a digest of them."""
    notes = json.loads(answer)["notes"]
    return len(notes), hashlib.sha256(json.dumps(notes).encode()).hexdigest()[:12]


def measure(
    server: Server, song: bytes, seconds: float, callers: int, songs: int
) -> dict[str, Any]:
    """Send ``songs`` recordings, ``callers`` at a time."""
    before, threads = server.figures(), server.threads()

    def one(_: int) -> Answer:
        began = time.perf_counter()
        status, content = server.post(song)
        return Answer(status, content, time.perf_counter() - began)

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        answers = [*pool.map(one, range(songs))]
    wall = time.perf_counter() - began
    after, grown = server.figures(), differences(threads, server.threads())
    result = {
        "callers": callers,
        "songs": songs,
        **summarize_answers(answers, seconds=seconds, wall=wall),
        **summarize_figures(
            differences(before, after), songs=sum(each.is_good for each in answers), wall=wall
        ),
        "busiest_threads": [round(each / wall, 2) for each in sorted(grown.values())[:-5:-1]],
        "memory_server_mb": round(after["memory_server"] / 1e6),
    }
    print(json.dumps(result), flush=True)
    return result


def differences(before: dict[Key, float], after: dict[Key, float]) -> dict[Key, float]:
    """Return how much each figure grew; a new one began at 0."""
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def summarize_answers(answers: list[Answer], *, seconds: float, wall: float) -> dict[str, Any]:
    """Summarize the answers to one recording.

    Args:
        answers: the answers.
        seconds: length of the recording.
        wall: seconds from the first request to the last answer.
    """
    good = [answer for answer in answers if answer.is_good]
    taken = sorted(answer.seconds for answer in good) or [0.0]
    digests = collections.Counter(digest_notes(answer.content) for answer in good)
    return {
        "statuses": dict(collections.Counter(answer.status for answer in answers)),
        "wall_seconds": round(wall, 3),
        "times_real_time": round(seconds * len(good) / wall, 1),
        "latency_median_max": [round(taken[len(taken) // 2], 3), round(taken[-1], 3)],
        "distinct_notes": [
            (f"{count}:{digest}", times) for (count, digest), times in digests.most_common(5)
        ],
    }


def summarize_figures(spent: dict[str, float], *, songs: int, wall: float) -> dict[str, Any]:
    """Summarize the growth of the server's figures while it transcribed.

    Args:
        spent: the growth of each of `Server.figures`.
        songs: recordings that were transcribed.
        wall: seconds that it took.
    """
    iterations = max(spent["mt3_visit_seconds_count"], 1)
    processors = [spent[key] for key in ("cpu_server", "cpu_children")]
    return {
        "iterations": iterations,
        "iteration_ms": round(1e3 * spent["mt3_visit_seconds_sum"] / iterations, 2),
        "fill": round(spent["mt3_batch_fill_ratio_sum"] / iterations, 3),
        "device_busy": round(spent["mt3_device_busy_seconds_total"] / wall, 3),
        "tokens": spent["mt3_tokens_total"],
        "cpu_of_a_song": {
            key: round(seconds / max(songs, 1), 3)
            for key, seconds in zip(("cpu_server", "cpu_children"), processors, strict=True)
        },
        "cores_used": round(sum(processors) / wall, 2),
    }


def profile(server: Server, output: Path, seconds: int) -> "subprocess.Popen[bytes] | None":
    """Start py-spy on the server, if it is installed."""
    program = shutil.which("py-spy")
    if program is None:
        return None
    return subprocess.Popen(
        [program, "record", "-p", str(server.process.pid), "-d", str(seconds), "-f", "raw",
         "--threads", "-r", "200", "-o", str(output)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one server from start to end."""
    song = arguments.song.read_bytes()
    settings = dict(pair.split("=", 1) for pair in arguments.set)
    server = Server(arguments.checkpoint, arguments.log, settings)
    result: dict[str, Any] = {
        "settings": settings,
        "ready_seconds": round(server.ready_seconds, 2),
        "at_start": server.figures(),
        "runs": [],
    }
    print(f"{settings}: ready after {server.ready_seconds:.2f} s", flush=True)
    try:
        result["runs"].append(measure(server, song, arguments.seconds, 1, 1))  # the first request
        for callers in map(int, arguments.callers.split(",")):
            songs = max(callers, 12) if callers < 64 else arguments.songs
            result["runs"].append(measure(server, song, arguments.seconds, callers, songs))
        if arguments.profile is not None:
            spy = profile(server, arguments.profile, 10)
            result["profiled"] = measure(server, song, arguments.seconds, 64, arguments.songs)
            if spy is not None:
                spy.wait(timeout=60)
    finally:
        result["stopped"] = server.stop()
        print(result["stopped"], flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--song", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=178.0, help="of the song")
    parser.add_argument("--callers", default="1,4,16,32,64")
    parser.add_argument("--songs", type=int, default=128, help="of 64 callers and more")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings")
    parser.add_argument("--profile", type=Path, help="py-spy's stacks of 64 callers")
    parser.add_argument("--log", type=Path, default=Path("server.log"))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    result = run(arguments)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
