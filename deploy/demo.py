"""`make demo`: start the server, transcribe one recording over HTTP, show and save the result.

    python deploy/demo.py RECORDING

Prints a table of tracks, writes ``demo_output/<name>`` as MIDI (``.mid``), piano roll (``.png``)
and score (``.pdf``, ``.musicxml``), and stops the server.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

OUTPUT = Path("demo_output")
FILES = {"midi": ".mid", "piano_roll": ".png", "score_pdf": ".pdf", "musicxml": ".musicxml"}
"""The suffix of each format that is written."""
START_SECONDS = 900.0
"""Long, because the first start may download the checkpoint, and it compiles the network."""


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description="Transcribe one recording through the server.")
    parser.add_argument("recording", type=Path)
    recording: Path = parser.parse_args().recording
    if not recording.is_file():
        print(f"{recording} is not a file; name a recording: make demo AUDIO=song.mp3")
        return 2
    with _server() as address:
        print(f"POST {address}/v1/transcriptions < {recording}")
        began = time.monotonic()
        response = httpx2.post(
            f"{address}/v1/transcriptions",
            content=recording.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
            timeout=None,
        )
        seconds = time.monotonic() - began
        if response.is_error:
            print(response.json()["detail"])
            return 1
        _show(response.json(), seconds)
        _write(address, response.content, OUTPUT / recording.stem)
    return 0


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Start a server on a free port, yield its address when it is ready, stop it on exit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    program = str(Path(sys.executable).with_name("mt3"))
    command = [program, "serve", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603
        command,
        env={**os.environ, "MT3_JOBS": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(address, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    shown = ""
    while time.monotonic() - began < START_SECONDS:
        if process.poll() is not None:
            raise SystemExit(f"the server stopped with code {process.returncode}; run: make serve")
        with contextlib.suppress(httpx2.TransportError):
            response = httpx2.get(f"{address}/ready")
            if response.is_success:
                print(f"server ready after {time.monotonic() - began:.1f} s")
                return
            state = str(response.json().get("state") or response.json().get("detail"))
            if state.startswith("failed"):
                raise SystemExit("the server could not load the model; `make serve` says why")
            if state != shown:
                print(f"server: {state}")
                shown = state
        time.sleep(0.1)
    raise SystemExit(f"the server was not ready after {START_SECONDS:.0f} s; run: make serve")


def _show(document: dict[str, Any], seconds: float) -> None:
    duration = document["duration_seconds"]
    print(
        f"{duration:.1f} s of audio transcribed in {seconds:.1f} s "
        f"({duration / seconds:.1f} x real time) by {document['model']['name']}"
    )
    print(f"\n{'program':>7}  {'track':<28} {'notes':>6}")
    for track in document["tracks"]:
        program = "drums" if track["is_drum"] else track["program"]
        print(f"{program:>7}  {track['name']:<28} {track['note_count']:>6}")
    print(f"{'':>7}  {'total':<28} {len(document['notes']):>6}\n")
    for warning in document["warnings"]:
        print(f"warning: {warning['message']}")


def _write(address: str, document: bytes, stem: Path) -> None:
    """Have the server write the transcription in each format."""
    stem.parent.mkdir(exist_ok=True)
    for form, suffix in FILES.items():
        written = httpx2.post(
            f"{address}/v1/exports",
            params={"response_format": form, "title": stem.name},
            content=document,
            headers={"Content-Type": "application/json"},
            timeout=None,
        )
        written.raise_for_status()
        stem.with_suffix(suffix).write_bytes(written.content)
        print(f"wrote {stem.with_suffix(suffix)}")


if __name__ == "__main__":
    sys.exit(main())
