"""`mt3 serve` as a process of its own, as a supervisor would start it."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

from tests.waiting import wait_until

MT3 = (sys.executable, "-m", "service.cli", "serve")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerProcess:
    """A running server."""

    process: subprocess.Popen
    address: str
    lines: list[str]
    """The path of its log."""

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def get(self, path, **headers):
        """Return status and body, whatever the status."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.address}{path}", headers=names)
        try:
            with urllib.request.urlopen(request, timeout=400) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def events(self):
        """The names of the events logged so far."""
        return [json.loads(line).get("event") for line in list(self.lines) if line[:1] == "{"]

    def wait_ready(self):
        wait_until(lambda: self.get("/ready")[0] == 200)


@contextlib.contextmanager
def server_process(tmp_path, *, command=MT3, **environment):
    """Start a server on a free port of the loopback; kill it at the end."""
    with tempfile.TemporaryDirectory() as data:
        environment = {"MT3_DATA_DIR": data, "MT3_JOBS": "true"} | environment
        with _server_process(tmp_path, command, environment) as server:
            yield server


@contextlib.contextmanager
def _server_process(tmp_path, command, environment):
    process = subprocess.Popen(
        command,
        env=os.environ
        | {"MT3_BACKEND": "fake", "MT3_PORT": "0", "MT3_UPLOAD_DIR": str(tmp_path)}
        | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    listening = threading.Event()

    def read():
        for line in process.stderr:
            lines.append(line)
            if "Uvicorn running on" in line:
                listening.set()
        listening.set()

    reading = threading.Thread(target=read)
    reading.start()
    try:
        assert listening.wait(120)
        (said,) = (line for line in lines if "Uvicorn running on" in line)
        address = said.split("Uvicorn running on ")[1].split(" ")[0]
        yield ServerProcess(process=process, address=address, lines=lines)
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stderr.close()
