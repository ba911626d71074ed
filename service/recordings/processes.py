"""Processes that do the host's work on recordings in place of the server's own process.

Reading a song, cleaning up its notes and writing the answer take half a second of Python. In a
thread of the server, this work would hold the interpreter lock, which the event loop and the
device's thread need. Each process here runs `main` and works on several recordings at once, each in
a thread and over its own connection. Closing the connection ends the work on that recording.
Closing the control socket, also by the end of the server, ends the process and its decoding
processes.

A process that dies or hangs is replaced. The work on its recordings is repeated in the new process,
but only once: if that ends too, the recording is refused. It is not tried in the server's process,
which might end as well.
"""

import contextlib
import logging
import os
import pathlib
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import service
from mt3_model.audio.decoder_process import KEPT_MEMORY, start_fork_server
from mt3_model.audio.recording import RecordingInfo
from mt3_model.errors import DecoderKilledError, MT3Error
from mt3_model.export.formats import load_writers
from mt3_model.notes.transcription import Transcription
from service.observability.logging import log_event
from service.recordings.process_connection import receive_message, send_message
from service.recordings.work import (
    Generation,
    LocalRecordingWork,
    PackedTokens,
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
    # For these small products NumPy's threads would only wait for each other.
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "8",  # one for each thread of the clean-up
} | KEPT_MEMORY
_ATTEMPTS = 2
"""Number of processes in which a recording is tried: two, because another recording may have ended
the first one."""
_HUNG_SECONDS = 20.0
"""A working process answers a ping within milliseconds. The limit for the fork server is the
same."""
_START_SECONDS = 120.0
"""Maximum time in which a process gets ready. It takes a third of a second of processor time, of
which a busy machine may give little."""
_ENDING_SECONDS = 5.0
"""Maximum time between a process closing its sockets and its end, which normally follows at
once."""
_FEWEST_CORES_TO_SHARE = 4
_SLOTS_PER_PROCESS = 32
_logger = logging.getLogger(__name__)


def suitable_recording_processes(cores: int, slots: int) -> int:
    """Return how many processes work on recordings by default.

    None with few cores, which the model needs; else one for each 32 slots (a CPU has 32), and at
    most one less than the number of cores. Measured on an H200 with 16 cores (`tests/README.md`):
    15 processes carry 2,449 times real time, 8 carry 2,021.

    Args:
        cores: cores that the server may use.
        slots: segments that generate at once.
    """
    if cores < _FEWEST_CORES_TO_SHARE:
        return 0
    return max(1, min(cores - 1, slots // _SLOTS_PER_PROCESS))


class RecordingProcesses:
    """A few processes that work on recordings; each starts when it is first needed."""

    def __init__(self, count: int = 0, *, hung_seconds: float = _HUNG_SECONDS) -> None:
        """Prepare.

        Args:
            count: number of processes; with 0 this process does the work.
            hung_seconds: after this time without an answer, a process is pinged; if it does not
                respond for the same time again, it is replaced.
        """
        self._processes = [_Process(hung_seconds) for _ in range(count)]
        self._choosing = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Start everything now, so that the first recordings need not wait for it. Blocks.

        Raises:
            ChildProcessError: a process ended or hung while it started.
        """
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
        """End the processes; work in progress fails with a `DecoderKilledError`."""
        self._is_closed = True
        for process in self._processes:
            process.close()

    def _release(self, process: "_Process") -> None:
        with self._choosing:
            process.recordings -= 1


class _Process:
    """One process, started when it is needed."""

    def __init__(self, hung_seconds: float) -> None:
        self.recordings = 0
        """Number of recordings that the process works on."""
        self.hung_seconds = hung_seconds
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_ready = False
        self._using = threading.Lock()

    def start(self) -> None:
        """Start the process, unless it is running."""
        with self._using:
            self._start()

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded everything it needs.

        Raises:
            ChildProcessError: it has ended or hangs.
        """
        with self._using:
            self._wait_until_ready()

    def connect(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        """Return a new connection, for one recording, and the process at its other end.

        Raises:
            OSError: the process has died, or none can be started.
        """
        ours, theirs = socket.socketpair()
        _limit_waiting(ours, self.hung_seconds)
        try:
            with theirs, self._using:
                control, process = self._start()
                # A process that still starts must not seem to hang.
                self._wait_until_ready()
                try:
                    socket.send_fds(control, [b"\0"], [theirs.fileno()])
                except ConnectionError:
                    _wait_for_end(process)
                    raise
        except BaseException:
            ours.close()
            raise
        return ours, process

    def end_if_hung(self) -> None:
        """Kill the process unless it answers; it is replaced when it is next needed.

        Raises:
            OSError: as `connect` says.
        """
        connection, process = self.connect()
        try:
            with connection:
                send_message(connection, None)
                send_message(connection, ("close", ()))
                receive_message(connection)
        except BlockingIOError:
            log_event(_logger, "recording_process_hung", level=logging.ERROR, process=process.pid)
            _kill(process)
        except (OSError, EOFError):  # it has died
            pass

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        if (control := self._control) is not None:
            with contextlib.suppress(OSError):  # it is closed, or its other end is
                control.shutdown(socket.SHUT_RDWR)  # ends a wait for the start, with its lock
        with self._using:
            if self._process is not None and self._control is not None:
                self._control.close()
                self._process.kill()
                self._process.wait()

    def _start(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        if self._is_closed:
            raise ChildProcessError("the recording processes are closed")
        if self._process is not None and self._control is not None:
            status = self._process.poll()
            if status is None:
                return self._control, self._process
            self._control.close()
            log_event(
                _logger,
                "recording_process_died",
                level=logging.ERROR,
                process=self._process.pid,
                exit_status=status,
            )
        self._control, theirs = socket.socketpair()
        _limit_waiting(self._control, _START_SECONDS)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", _MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is the server's
            )
        self._is_ready = False
        return self._control, self._process

    def _wait_until_ready(self) -> None:
        if self._process is None or self._control is None or self._is_ready:
            return
        with contextlib.suppress(OSError):  # the limit has passed, or the process has died
            self._is_ready = bool(self._control.recv(len(_READY)))
        if self._is_ready:
            return
        _kill(self._process)
        if not self._is_closed:
            raise ChildProcessError(
                f"a recording process ended while it started, or was not ready within"
                f" {_START_SECONDS:.0f} s; look above for its error message, give the server more"
                " memory, or set MT3_RECORDING_PROCESSES=0"
            )


class _RemoteRecordingWork:
    """The work on one recording, in one of the processes."""

    def __init__(
        self, request: RecordingRequest, process: _Process, release: Callable[[], None]
    ) -> None:
        self._request = request
        self._process = process
        self._release = release
        self._connection: tuple[socket.socket, subprocess.Popen[bytes]] | None = None
        self._done: list[tuple[str, tuple[Any, ...]]] = []
        self._deaths = 0
        self._is_closed = False

    def open(self) -> RecordingInfo:
        """Do as `RecordingWork.open` says."""
        return self._call("open")

    def read(self, count: int) -> ReadSegments:
        """Do as `RecordingWork.read` says."""
        return self._call("read", count)

    def add(self, packed: PackedTokens) -> None:
        """Do as `RecordingWork.add` says."""
        self._call("add", packed)

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
        self._disconnect()

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the work in the process."""
        while self._deaths < _ATTEMPTS:
            try:
                value, error = self._ask(name, arguments)
            except (OSError, EOFError) as lost:  # the process has died or hangs
                self._deaths += 1
                self._leave(may_hang=isinstance(lost, BlockingIOError))
                continue
            if error is not None:
                raise error
            self._done.append((name, arguments))
            return value
        raise DecoderKilledError(
            "the process that worked on the recording ended, and so did the one that replaced it,"
            " perhaps because the machine has too little memory; try again"
        )

    def _ask(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        """Return the answer; in a new process, first repeat the earlier calls.

        Raises:
            OSError: the process has died, or none can be started.
            EOFError: the process has died.
        """
        calls = [(name, arguments)]
        if self._connection is None:
            self._connection = self._process.connect()
            send_message(self._connection[0], self._request)
            calls = [*self._done, *calls]
        connection = self._connection[0]
        for call in calls[:-1]:
            send_message(connection, call)
            if (answer := self._receive(connection))[1] is not None:
                return answer
        send_message(connection, calls[-1])
        return self._receive(connection)

    def _receive(self, connection: socket.socket) -> tuple[Any, Exception | None]:
        """Wait for an answer as long as the process works."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while not poll.poll(1_000 * self._process.hung_seconds):
            self._process.end_if_hung()
        return receive_message(connection)

    def _leave(self, *, may_hang: bool) -> None:
        """Leave the process that did not answer, so that it will be replaced."""
        if self._connection is None:
            return
        _, process = self._connection
        self._disconnect()
        if may_hang:
            with contextlib.suppress(OSError):
                self._process.end_if_hung()
        else:
            _wait_for_end(process)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection[0].close()
            self._connection = None


def _limit_waiting(connection: socket.socket, seconds: float) -> None:
    """Let calls of the blocking socket fail with a `BlockingIOError` after some time."""
    whole, rest = divmod(seconds, 1.0)
    limit = struct.pack("@ll", int(whole), int(rest * 1e6))
    for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, direction, limit)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process at once."""
    process.kill()
    _wait_for_end(process)


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process that has closed a socket, and may seem to be running."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING_SECONDS)


def main() -> None:
    """Work on recordings, whose connections arrive over the control socket, until it closes."""
    # A signal to all processes of the service, as systemd sends it, lets the server finish what
    # runs. This process ends with the server.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_fork_server()
    with contextlib.suppress(OSError), socket.socket(fileno=_CONTROL) as control:
        load_writers()
        control.send(_READY)
        while descriptors := socket.recv_fds(control, 1, 1)[1]:
            connection = socket.socket(fileno=descriptors[0])
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()
    # Immediately: there is no reader for the recordings in progress.
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
    except Exception as error:  # noqa: BLE001 (raised again in the server)
        if not isinstance(error, MT3Error) or error.__cause__ is not None:
            # Pickling loses the trace and the cause.
            error.add_note("".join(traceback.format_exception(error)))
        return None, _as_portable(error)


def _as_portable(error: Exception) -> Exception:
    """Return the error, or one with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (the constructor of an unknown class may raise anything)
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


if __name__ == "__main__":
    main()
