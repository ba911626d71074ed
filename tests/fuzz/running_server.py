"""Start a server in a process of its own, and count its memory, files and children.

The server is `mt3 serve` with the fake backend and short limits, so that connections that a broken
client leaves open end within seconds. Its log goes to a file that is searched for faults at the
end, because a fault counts even if the client had disconnected.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import psutil

SETTINGS = {
    "MT3_BACKEND": "fake",
    "MT3_PORT": "0",
    "MT3_SLOTS": "16",
    "MT3_UPLOAD_IDLE_TIMEOUT_SECONDS": "2",
    "MT3_MAX_UPLOAD_BYTES": str(4 * 2**20),
    "MT3_STREAM_RESUME_SECONDS": "1",
    "MT3_MAX_CONNECTIONS": "2000",
    "MT3_LOG_LEVEL": "info",
}
"""Short limits, so that everything ends within the time that a count waits."""
_FAULTS = ("request_failed", "Traceback", "engine_failed", "never retrieved", "error_escaped")
"""Text in a line of the log that shows a fault."""
_START_SECONDS = 60.0
_SETTLE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """The resources of the server at one moment."""

    resident_bytes: int
    """Memory of the server and its children."""
    open_files: int
    """Number of file descriptors of the server alone."""
    children: int
    upload_files: int
    """Number of files and folders in the upload folder."""
    descriptors: tuple[str, ...]
    """The open files as paths, and connections with their state."""


class RunningServer:
    """A server, started here or already running.

    Attributes:
        url: the address without a path.
        port: the port on the loopback interface.
        process: the process; None if it is not on this machine.
        headers: the headers of every good request, an API key among them.
    """

    def __init__(
        self,
        url: str,
        process: psutil.Process | None,
        *,
        log: pathlib.Path | None = None,
        uploads: pathlib.Path | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = url.rstrip("/")
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 80
        self.process = process
        self.headers: dict[str, str] = {}
        self._log = log
        self._uploads = uploads

    def census(self) -> Census | None:
        """Count the resources now; None for a process on another machine."""
        if self.process is None:
            return None
        children = self.process.children(recursive=True)
        resident = self.process.memory_info().rss
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                resident += child.memory_info().rss
        return Census(
            resident_bytes=resident,
            open_files=self.process.num_fds(),
            children=len(children),
            upload_files=len(list(self._uploads.rglob("*"))) if self._uploads else 0,
            descriptors=tuple(self._describe_descriptors()),
        )

    def _describe_descriptors(self) -> list[str]:
        """Describe each open file and connection."""
        assert self.process is not None
        found = [f"{file.path}" for file in self.process.open_files()]
        for connection in self.process.net_connections("all"):
            peer = connection.raddr and f"port {connection.raddr.port}"
            found.append(f"{connection.status} {peer or ''}".strip())
        return sorted(found)

    def settled_census(self, before: Census | None) -> Census | None:
        """Count the resources once they are back to ``before``, or after a time limit."""
        until = time.monotonic() + _SETTLE_SECONDS
        while True:
            found = self.census()
            if found is None or before is None or time.monotonic() > until:
                return found
            if (
                found.open_files <= before.open_files
                and found.children <= before.children
                and found.upload_files <= before.upload_files
            ):
                return found
            time.sleep(0.2)

    def is_alive(self) -> bool:
        """Whether `/health` answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def transcribe(self, recording: bytes) -> list[dict[str, object]]:
        """Transcribe a recording and return its notes.

        Raises:
            OSError: the status is not 200.
        """
        request = urllib.request.Request(
            f"{self.url}/v1/transcriptions",
            recording,
            {"Content-Type": "audio/wav", **self.headers},
        )
        with urllib.request.urlopen(request, timeout=400) as answer:
            return json.load(answer)["notes"]

    def faults(self) -> list[str]:
        """Return the lines of the log that show a fault."""
        if self._log is None:
            return []
        lines = self._log.read_text(errors="replace").splitlines()
        return [line[:2_000] for line in lines if any(fault in line for fault in _FAULTS)]


@contextlib.contextmanager
def started(folder: pathlib.Path, **settings: str):
    """Start a server; end it with SIGTERM and check that its exit code is 0.

    Args:
        folder: the folder of its log and uploads.
        settings: further environment variables.
    """
    uploads, log = folder / "uploads", folder / "server.log"
    uploads.mkdir()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            env={**os.environ, **SETTINGS, "MT3_UPLOAD_DIR": str(uploads), **settings},
            stdout=sink,
            stderr=sink,
        )
    try:
        url = _wait_until_ready(process, log)
        yield RunningServer(url, psutil.Process(process.pid), log=log, uploads=uploads)
        process.send_signal(signal.SIGTERM)
        code = process.wait(_START_SECONDS)
        assert code == 0, f"the server ended with {code}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def attached(url: str) -> RunningServer:
    """Return a server that already runs; its process is found by its listening port."""
    server = RunningServer(url, None)
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr.port == server.port and connection.pid is not None:
            server.process = psutil.Process(connection.pid)
    return server


def _wait_until_ready(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    """Return the address from the log, once `/ready` answers with 200."""
    until = time.monotonic() + _START_SECONDS
    url = None
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if url is None:
            _, _, rest = log.read_text(errors="replace").partition("Uvicorn running on ")
            url = rest.split('"')[0].split()[0] if rest else None
        else:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=5):
                return url
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-3_000:]}")
