"""Processes that do the host's work on recordings, so that the server's process need not.

Reading a song, cleaning up its notes and writing the answer take half a second of Python. In a
thread of the server that holds the interpreter's lock, which the event loop and the device's thread
need. Each process here runs `main` and works on several recordings at once, each in a thread, over
a connection of its own. Closing the connection ends the work on that recording; closing the control
socket, and so the end of the server, ends the process and its decoding processes.

A process that dies is replaced. The server then does itself, from the start, what the process did
for its recordings.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import service
from mt3_model.audio.decoder_process import start_fork_server
from mt3_model.audio.recording import RecordingInfo
from mt3_model.errors import MT3Error
from mt3_model.notes.transcription import Transcription
from service.recordings.process_connection import receive_message, send_message
from service.recordings.work import (
    Generation,
    LocalRecordingWork,
    ReadSegments,
    RecordingRequest,
    RecordingWork,
    Write,
    Written,
)

_MODULE = "service.recordings.processes"
_CONTROL = 0
"""Descriptor of the control socket in a process: its standard input."""
_READY = b"r"
_ENVIRONMENT = {
    "PYTHONPATH": str(pathlib.Path(service.__path__[0]).parent),
    # NumPy's threads would only wait for each other on these small products.
    "OPENBLAS_NUM_THREADS": "1",
    # The C library keeps up to 32 MiB that it would give back, and get as zeros for the next array:
    # half of the time of reading.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}


class RecordingProcesses:
    """A few processes that work on recordings; each starts when it is first needed."""

    def __init__(self, count: int = 0) -> None:
        """Prepare.

        Args:
            count: number of processes; with 0 this process does the work.
        """
        self._processes = [_Process() for _ in range(count)]
        self._choosing = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Start everything now, so that the first recordings need not wait for it. Blocks."""
        if not self._processes:
            start_fork_server()
        for process in self._processes:
            process.start()
        for process in self._processes:
            process.wait_until_ready()

    def open_work(self, request: RecordingRequest) -> RecordingWork:
        """Return the work on a recording; nothing is opened yet."""
        if not self._processes or self._is_closed:
            return LocalRecordingWork(request)
        with self._choosing:
            process = min(self._processes, key=lambda each: each.recordings)
            process.recordings += 1
        return _RemoteRecordingWork(request, process, lambda: self._release(process))

    def close(self) -> None:
        """End the processes; work in progress is done again by this process."""
        self._is_closed = True
        for process in self._processes:
            process.close()

    def _release(self, process: "_Process") -> None:
        with self._choosing:
            process.recordings -= 1


class _Process:
    """One process, started when it is needed."""

    def __init__(self) -> None:
        self.recordings = 0
        """Recordings that it works on."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_ready = False
        self._using = threading.Lock()

    def start(self) -> None:
        """Start it, unless it runs."""
        with self._using:
            self._start()

    def wait_until_ready(self) -> None:
        """Wait until it has loaded all it needs; returns at once if it has died."""
        with self._using:
            if self._control is not None and not self._is_ready:
                self._control.recv(len(_READY))
                self._is_ready = True

    def connect(self) -> socket.socket:
        """Return a new connection, for one recording.

        Raises:
            OSError: the process has died, or none can be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._using:
                control = self._start()
                socket.send_fds(control, [b"\0"], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        return ours

    def close(self) -> None:
        """End the process."""
        with self._using:
            if self._process is not None and self._control is not None:
                self._control.close()
                self._process.kill()
                self._process.wait()

    def _start(self) -> socket.socket:
        if self._process is not None and self._control is not None:
            if self._process.poll() is None:
                return self._control
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", _MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is the server's
            )
        self._is_ready = False
        return self._control


class _RemoteRecordingWork:
    """The work on one recording, in one of the processes; in this one if that has died."""

    def __init__(
        self, request: RecordingRequest, process: _Process, release: Callable[[], None]
    ) -> None:
        self._request = request
        self._process = process
        self._release = release
        self._connection: socket.socket | None = None
        self._local: LocalRecordingWork | None = None
        self._done: list[tuple[str, tuple[Any, ...]]] = []
        self._is_closed = False

    def open(self) -> RecordingInfo:
        """Do as `RecordingWork.open` says."""
        return self._call("open")

    def read(self, count: int) -> ReadSegments:
        """Do as `RecordingWork.read` says."""
        return self._call("read", count)

    def conclude(self, generation: Generation) -> Transcription:
        """Do as `RecordingWork.conclude` says."""
        return self._call("conclude", generation)

    def write(self, generation: Generation, write: Write) -> Written:
        """Do as `RecordingWork.write` says."""
        return self._call("write", generation, write)

    def close(self) -> None:
        """Do as `RecordingWork.close` says."""
        if self._is_closed:
            return
        self._is_closed = True
        self._release()
        if self._connection is not None:
            self._connection.close()
        if self._local is not None:
            self._local.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the work, where the work is."""
        answer = self._ask(name, arguments) if self._local is None else None
        if answer is None:
            return getattr(self._repeat(), name)(*arguments)
        value, error = answer
        if error is not None:
            raise error
        self._done.append((name, arguments))
        return value

    def _ask(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, Exception | None] | None:
        """Return the process's answer; None if it has died."""
        with contextlib.suppress(OSError, EOFError):
            if self._connection is None:
                self._connection = self._process.connect()
                send_message(self._connection, self._request)
            send_message(self._connection, (name, arguments))
            return receive_message(self._connection)
        return None

    def _repeat(self) -> LocalRecordingWork:
        """Return the work in this process, with all done again that the process had done."""
        if self._local is None:
            self._local = LocalRecordingWork(self._request)
            for name, arguments in self._done:
                getattr(self._local, name)(*arguments)
        return self._local


def main() -> None:
    """Work on the recordings whose connections come over the control socket, until it ends."""
    start_fork_server()
    with socket.socket(fileno=_CONTROL) as control:
        control.send(_READY)
        while descriptors := socket.recv_fds(control, 1, 1)[1]:
            connection = socket.socket(fileno=descriptors[0])
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()
    # At once: recordings in progress have no one to be written for.
    os._exit(0)


def _serve(connection: socket.socket) -> None:
    """Work on one recording, until its connection is closed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(OSError, EOFError))
        stack.enter_context(connection)
        work = LocalRecordingWork(receive_message(connection))
        stack.callback(work.close)
        while True:
            name, arguments = receive_message(connection)
            send_message(connection, _answer(work, name, arguments))


def _answer(
    work: LocalRecordingWork, name: str, arguments: tuple[Any, ...]
) -> tuple[Any, Exception | None]:
    try:
        return getattr(work, name)(*arguments), None
    except MT3Error as error:
        return None, error
    except Exception as error:  # noqa: BLE001 (raised again in the server)
        error.add_note("".join(traceback.format_exception(error)))  # which pickling would lose
        return None, error


if __name__ == "__main__":
    main()
