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
from typing import Any

import psutil

from tests.benchmarks.service.descendants import seconds_of_descendants

_FIGURES = (
    "mt3_visit_seconds_sum", "mt3_visit_seconds_count", "mt3_batch_fill_ratio_sum",
    "mt3_device_busy_seconds_total", "mt3_tokens_total", "mt3_model_load_seconds",
    "mt3_warm_up_seconds",
)  # fmt: skip


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
        lines = self.get("/metrics")[1].decode().splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if line.startswith(_FIGURES))
        own = self._tree.cpu_times()
        return {
            **{name: float(value) for name, value in found.items()},
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


def digest_notes(answer: bytes) -> tuple[int, str]:
    """Return the number of notes of an answer, and a digest of them."""
    notes = json.loads(answer)["notes"]
    return len(notes), hashlib.sha256(json.dumps(notes).encode()).hexdigest()[:12]


def measure(
    server: Server, song: bytes, seconds: float, callers: int, songs: int
) -> dict[str, Any]:
    """Send ``songs`` recordings, ``callers`` at a time."""
    before, threads = server.figures(), server.threads()

    def one(_: int) -> tuple[int, bytes, float]:
        began = time.perf_counter()
        status, answer = server.post(song)
        return status, answer, time.perf_counter() - began

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        answers = [*pool.map(one, range(songs))]
    wall = time.perf_counter() - began
    after = server.figures()
    spent = {key: after[key] - before.get(key, 0.0) for key in after}
    good = [(answer, taken) for status, answer, taken in answers if status == http.HTTPStatus.OK]
    iterations = max(spent["mt3_visit_seconds_count"], 1)
    busiest = sorted(
        (after_ - threads.get(thread, 0.0) for thread, after_ in server.threads().items()),
        reverse=True,
    )
    taken = sorted(taken for _, taken in good) or [0.0]
    result = {
        "callers": callers,
        "songs": songs,
        "statuses": dict(collections.Counter(status for status, *_ in answers)),
        "wall_seconds": round(wall, 3),
        "times_real_time": round(seconds * len(good) / wall, 1),
        "latency_median_max": [round(taken[len(taken) // 2], 3), round(taken[-1], 3)],
        "iterations": iterations,
        "iteration_ms": round(1e3 * spent["mt3_visit_seconds_sum"] / iterations, 2),
        "fill": round(spent["mt3_batch_fill_ratio_sum"] / iterations, 3),
        "device_busy": round(spent["mt3_device_busy_seconds_total"] / wall, 3),
        "tokens": spent["mt3_tokens_total"],
        "cpu_of_a_song": {
            key: round(spent[key] / max(len(good), 1), 3) for key in ("cpu_server", "cpu_children")
        },
        "cores_used": round((spent["cpu_server"] + spent["cpu_children"]) / wall, 2),
        "busiest_threads": [round(value / wall, 2) for value in busiest[:4]],
        "distinct_notes": collections.Counter(
            f"{count}:{digest}" for count, digest in (digest_notes(a) for a, _ in good)
        ).most_common(5),
        "memory_server_mb": round(after["memory_server"] / 1e6),
    }
    print(json.dumps(result), flush=True)
    return result


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
            songs = max(callers, 3) if callers < 64 else arguments.songs
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
