"""Run one system in its own process: start it, keep it warm, send it recordings, time it.

The other end of `protocol.py`. The clock is here, the same for every system: loading is from the
start of the process to its "ready", a transcription from the request to its answer, from a
recording on disk to a MIDI file on disk. A process that dies, refuses or times out raises
`RunnerError` with the end of what it wrote to stderr.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TAIL_LINES = 15
"""Last lines of stderr in an error's message: the end of a traceback."""
_LAST_SECONDS = 0.5
"""Time for a process that closed its stdout to end."""


class RunnerError(Exception):
    """A runner failed; the message contains its own error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """Command that starts a runner."""

    arguments: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variables added to our environment."""
    cores: frozenset[int] | None = None
    """Cores it may run on, where the system supports affinity."""


class Runner:
    """A running system."""

    def __init__(self, name: str, command: Command, *, timeout_seconds: float) -> None:
        """Start the process and wait until its system is loaded."""
        self.name = name
        self._timeout_seconds = timeout_seconds
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  `close` does
        began = time.perf_counter()
        self._process = subprocess.Popen(
            list(map(str, command.arguments)),
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )
        if command.cores is not None and hasattr(os, "sched_setaffinity"):
            # Before the process has threads: all of them inherit it.
            os.sched_setaffinity(self._process.pid, command.cores)
        ready = self._read_answer()
        self.load_seconds = time.perf_counter() - began
        self.versions: dict[str, str] = ready.get("versions", {})
        self.details: dict[str, Any] = ready.get("details", {})

    def transcribe(self, recording: Path, midi: Path) -> float:
        """Transcribe a recording to a MIDI file; return the seconds it took."""
        request = json.dumps({"recording": str(recording), "midi": str(midi)})
        began = time.perf_counter()
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("does not take requests") from error
        self._read_answer()
        return time.perf_counter() - began

    def peak_megabytes(self) -> int | None:
        """Return the peak memory of the process, MB; None where the system does not report it.

        `VmHWM` and not `ru_maxrss`: that one is inherited from the process that started it.
        """
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return None
        kilobytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        return int(kilobytes[0]) // 1_024 if kilobytes else None

    def close(self) -> None:
        """Ends the process."""
        self._stop()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            # A request may still be in the stdin of a process that has gone.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read_answer(self) -> dict[str, Any]:
        late = threading.Event()

        def stop_late():
            late.set()
            self._process.kill()

        alarm = threading.Timer(self._timeout_seconds, stop_late)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        if late.is_set():
            raise self._failure(f"did not answer within {self._timeout_seconds:g} s")
        if not line:
            raise self._failure("ended")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._failure(f"answered {line!r}, which is not JSON") from error
        if "error" in answer:
            raise self._failure(f"failed: {answer['error']}")
        return answer

    def _failure(self, what: str) -> RunnerError:
        """The error to raise; the process is stopped."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            what += f" with exit status {self._process.wait(timeout=_LAST_SECONDS)}"
        self._stop()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        tail = "".join(f"\n    {line}" for line in lines[-TAIL_LINES:])
        self.close()
        return RunnerError(f"{self.name} {what}; the end of its stderr:{tail or ' nothing'}")

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
