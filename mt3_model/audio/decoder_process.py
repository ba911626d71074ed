"""The parent's side of decoding processes: start one for a recording, kill it, get its exit code.

All decoding processes of this process come from one fork server (`fork_server.py`), which starts
with the first recording, or before it with `start_fork_server`. A fork server that has died is
replaced at the next recording; the decoding processes die with it.
"""

import atexit
import contextlib
import fcntl
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import mt3_model
from mt3_model.audio.process_messages import NUMBER, ReadingOptions

_SERVER_MODULE = "mt3_model.audio.fork_server"
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}
"""Environment with which glibc keeps up to 32 MiB of freed memory. Otherwise it returns each block
of samples and gets zeroed pages for the next one, which took half of the time of reading."""
_PIPE_BYTES = 256 << 10
"""Four seconds of sound: fewer switches between the processes. An unprivileged user's pipes may
have 64 MiB together before Linux shrinks them."""
_REPLY_SECONDS = 20.0
"""Longest wait for the fork server, which answers in milliseconds; after that it counts as hung."""


class DecoderProcess:
    """A running or ended decoding process."""

    def __init__(
        self, pid: int, output: int, control: socket.socket, server: "_ForkServer"
    ) -> None:
        self.pid = pid
        self.output = output
        """Descriptor of its messages; `close` closes it."""
        self._control = control
        self._server = server
        self._ending = threading.Lock()
        self._has_ended = False
        self._exit_code: int | None = None

    def wait(self) -> int | None:
        """Wait for the end of the process.

        Returns:
            Its exit code, as in `subprocess`: negative for a signal. None if the fork server ended
            first, and the process with it.
        """
        with self._ending:
            if not self._has_ended:
                self._exit_code = _receive_number(self._control)
                if (
                    self._exit_code is None
                ):  # it closed its output but still runs, or everything has ended
                    self._ask_to_kill()
                    self._exit_code = _receive_number(self._control)
                if self._exit_code is None:
                    self._server.discard()
                self._has_ended = True
                self._control.close()
            return self._exit_code

    def kill(self) -> None:
        """Kill the process and wait for its end; does nothing if it has ended."""
        self._ask_to_kill()
        self.wait()

    def close(self) -> None:
        """Close the descriptor of its messages."""
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def _ask_to_kill(self) -> None:
        with contextlib.suppress(OSError):  # it is closed: the process has ended
            self._control.shutdown(socket.SHUT_WR)


class _ForkServer:
    """One fork server."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # -P: Python does not search the current folder for modules. The environment has only what
        # Python needs to find this package, so no secrets of the deployment reach the decoders.
        environment = {
            "PYTHONPATH": str(pathlib.Path(mt3_model.__path__[0]).parent),
            "OPENBLAS_NUM_THREADS": "1",  # NumPy's threads do not survive a fork
            "MALLOC_ARENA_MAX": "6",  # one for each thread of a decoding process
        } | KEPT_MEMORY
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", _SERVER_MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self._requests = ours
        self._owner = os.getpid()
        self._is_discarded = False

    @property
    def is_usable(self) -> bool:
        """Whether it can start processes; false once it is known to have failed."""
        return not self._is_discarded and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start_decoder(
        self, recording: int, options: ReadingOptions, copies: Sequence[int]
    ) -> DecoderProcess | None:
        """Start a decoding process; None if the fork server has died or hangs.

        Raises:
            OSError: the system starts no more processes.
        """
        control, theirs = socket.socketpair()
        try:
            output, messages = os.pipe()
        except OSError:
            control.close()
            theirs.close()
            raise
        argument = options.to_argument().encode()
        try:
            _enlarge_pipe(output)
            with theirs:
                socket.send_fds(
                    self._requests,
                    [NUMBER.pack(len(argument))],
                    [recording, messages, theirs.fileno(), *copies],
                )
            self._requests.sendall(argument)
            os.close(messages)
            messages = -1
            pid = _receive_number(control)
        except OSError:  # it has died
            pid = None
        if messages >= 0:
            os.close(messages)
        if pid is not None and pid > 0:
            return DecoderProcess(pid, output, control, self)
        os.close(output)
        control.close()
        if pid is None:
            self.discard()
            return None
        raise OSError(-pid, os.strerror(-pid))

    def discard(self) -> None:
        """End the fork server at once, and its decoding processes with it."""
        self._is_discarded = True
        self._requests.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the fork server, which also ends its decoding processes."""
        self._is_discarded = True
        self._requests.close()
        if self._owner != os.getpid():  # a fork of its owner: only the copy of the socket is ours
            self._process.returncode = 0
            return
        try:
            self._process.wait(_REPLY_SECONDS)
        except subprocess.TimeoutExpired:
            self.discard()


_starting = threading.Lock()
_servers: list[_ForkServer] = []  # at most one: that of this process


def start_fork_server() -> None:
    """Start the fork server now, so that the first recording need not wait for it."""
    with _starting:
        _usable_server()


def start_decoder(
    recording: int, options: ReadingOptions, copies: Sequence[int] = ()
) -> DecoderProcess:
    """Start the decoding process of a recording.

    Args:
        recording: descriptor of the open file.
        options: what to read.
        copies: further descriptors of the open file, with positions of their own; at most
            `MAX_COPIES`.

    Raises:
        OSError: the system starts no more processes.
    """
    with _starting:
        for _ in range(2):  # the fork server may have died since the last recording
            process = _usable_server().start_decoder(recording, options, copies)
            if process is not None:
                return process
    raise ChildProcessError("the fork server of the decoding processes does not start")


def _usable_server() -> _ForkServer:
    if not (_servers and _servers[0].is_usable):
        _close_servers()
        _servers.append(_ForkServer())
    return _servers[0]


def _close_servers() -> None:
    while _servers:
        _servers.pop().close()


def _forget_servers() -> None:
    """Forget the fork server in a fork of this process: it belongs to the parent."""
    global _starting  # noqa: PLW0603 (another thread of the parent may hold the lock)
    _starting = threading.Lock()
    _close_servers()


atexit.register(_close_servers)
os.register_at_fork(after_in_child=_forget_servers)


def _receive_number(control: socket.socket) -> int | None:
    """Return the next number of the fork server; None if it has died or hangs."""
    control.settimeout(_REPLY_SECONDS)
    try:
        received = control.recv(NUMBER.size, socket.MSG_WAITALL)
    except OSError:  # also if it takes too long
        return None
    return NUMBER.unpack(received)[0] if len(received) == NUMBER.size else None


def _enlarge_pipe(descriptor: int) -> None:
    """Enlarge a pipe where the system can and allows it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
