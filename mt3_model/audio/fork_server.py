"""The fork server: a small process that starts the decoding process of each recording.

Starting Python and loading the decoders takes 150 ms of processor time; a fork of a process that
has them loaded takes 2 ms. So `decoder_process.py` runs this module once, as ``python -m
mt3_model.audio.fork_server``, and sends it the open file and a pipe for each recording. A decoding
process is as isolated as if it had been started separately: it inherits an empty environment and
only its own descriptors, sets its limits before it reads the first byte, and ends with its
recording.

This process never touches a recording, and has one thread, since only the thread that forks exists
in the child. It ends, together with its children, as soon as its parent has closed the socket or
has ended.

The protocol. Standard input is a Unix stream socket. Each request is the length of the options, the
options as text, and descriptors sent with the first byte: the recording, the pipe for messages, a
control socket, and perhaps the recording again, opened for each thread that may decode it. Over the
control socket go the process's id (a negative errno if it could not be started) and later its exit
code, as `subprocess` counts it. When the other end of the control socket is closed for writing, the
process is killed.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from mt3_model.audio import reading_process
from mt3_model.audio.process_messages import MAX_COPIES, NUMBER

_DESCRIPTORS = 3
"""Number of descriptors of a request without copies of the recording."""
_REQUESTS = 0
_MOST_DESCRIPTORS = 1 << 16
"""Number of descriptors closed in a child; this process never has that many."""
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""


class _ForkServer:
    """The loop that starts, kills and reaps decoding processes."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._pid = os.getpid()
        self._controls: dict[int, socket.socket] = {}  # by process id
        self._pids: dict[int, int] = {}  # by the descriptor of the control socket
        self._ended, ended = os.pipe()
        for end in (self._ended, ended):
            os.set_blocking(end, False)
        # The wakeup descriptor gets a byte for each signal that has a handler.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(ended, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(requests.fileno(), select.POLLIN)
        self._poll.register(self._ended, select.POLLIN)

    def run(self) -> None:
        """Serve until the parent is gone; then end all children."""
        try:
            while self._serve_events():
                pass
        finally:
            for pid in self._controls:
                os.kill(pid, signal.SIGKILL)

    def _serve_events(self) -> bool:
        """Wait for events and serve them; return False if the parent is gone."""
        for descriptor, _ in self._poll.poll():
            if descriptor == self._ended:
                self._reap()
            elif descriptor in self._pids:
                self._kill(descriptor)
            elif descriptor == self._requests.fileno() and not self._serve_request():
                return False
        return True

    def _serve_request(self) -> bool:
        """Start a process; return False if the parent is gone."""
        most = _DESCRIPTORS + MAX_COPIES
        head, descriptors, _, _ = socket.recv_fds(self._requests, NUMBER.size, most)
        if len(descriptors) < _DESCRIPTORS or len(head) != NUMBER.size:
            return False
        (length,) = NUMBER.unpack(head)
        argument = self._requests.recv(length, socket.MSG_WAITALL)
        recording, messages, control, *copies = descriptors
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            self._become_decoder(recording, messages, copies, argument.decode())
        for descriptor in (recording, messages, *copies):
            os.close(descriptor)
        with socket.socket(fileno=control) as reply:
            self._send(reply, pid)
            if pid > 0:
                kept = reply.dup()
                self._controls[pid] = kept
                self._pids[kept.fileno()] = pid
                self._poll.register(kept.fileno(), select.POLLIN)
        return True

    def _become_decoder(
        self, recording: int, messages: int, copies: list[int], argument: str
    ) -> NoReturn:
        """Turn this fork into a decoding process. Whatever happens, it never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(status)  # the fork server ended before the line above
            os.dup2(recording, reading_process.INPUT)
            os.dup2(messages, reading_process.OUTPUT)
            # In ascending order: then none is overwritten before it is moved.
            for place, copy in enumerate(sorted(copies), reading_process.FIRST_COPY):
                os.dup2(copy, place)
            os.closerange(reading_process.FIRST_COPY + len(copies), _MOST_DESCRIPTORS)
            status = reading_process.main(argument, len(copies))
        finally:
            # No orderly shutdown: there is nothing to save, and freeing memory takes time.
            os._exit(status)

    def _kill(self, descriptor: int) -> None:
        """Kill the process of a control socket whose other end was closed."""
        self._poll.unregister(descriptor)
        pid = self._pids.pop(descriptor)
        if pid in self._controls:
            os.kill(pid, signal.SIGKILL)  # at least as a zombie: only `_reap` frees its id

    def _reap(self) -> None:
        """Report the exit codes of the children that have ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._ended, 1 << 12)
        while self._controls:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            control = self._controls.pop(pid)
            if self._pids.pop(control.fileno(), None) is not None:
                self._poll.unregister(control.fileno())
            self._send(control, os.waitstatus_to_exitcode(status))
            control.close()

    def _send(self, control: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # the recording was closed without waiting
            control.send(NUMBER.pack(number))


def main() -> None:
    """Serve the parent at the other end of standard input."""
    # The parent handles Ctrl-C, and a request to end that goes to all processes of a service, as
    # systemd sends it: what it still reads needs this process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Objects that exist now are in every child. The collector must not visit them there, because
    # that would copy their pages.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=_REQUESTS) as requests:
        _ForkServer(requests).run()


if __name__ == "__main__":
    main()
