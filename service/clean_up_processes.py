"""Cleans up transcriptions in processes of their own, so that the server's process can go on.

A clean-up takes most of a song's Python. In a thread of the server it holds the interpreter's lock
that the event loop and the device's thread need, and NumPy's own threads take turns with the
device's. Each process here is started once, runs `main`, and serves one transcription at a time
over its standard input and output. It ends when the server's end of the pipe is closed, and so with
the server. A process that dies is replaced; its transcription is cleaned up by the server itself,
and so is one on which the clean-up fails, for the error's sake.
"""

import contextlib
import os
import pathlib
import pickle
import queue
import struct
import subprocess
import sys
from typing import IO, Any

import service
from mt3_model.notes.transcription import Transcription
from mt3_model.postprocessing.cleaning import clean_up_transcription
from mt3_model.postprocessing.sound import RecordingSound

_MODULE = "service.clean_up_processes"
_LENGTH = struct.Struct("<Q")


class CleanUpProcesses:
    """A few processes that clean up; they start at the first use."""

    def __init__(self, count: int) -> None:
        """Prepare.

        Args:
            count: number of processes; 0 cleans up in this process.
        """
        self._is_closed = False
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._processes = [_Process() for _ in range(count)]
        for process in self._processes:
            self._free.put(process)

    def clean_up(self, transcription: Transcription, sound: RecordingSound | None) -> Transcription:
        """Do what `clean_up_transcription` does; blocks, from any thread."""
        if self._processes and not self._is_closed:
            process = self._free.get()
            try:
                with contextlib.suppress(OSError, EOFError):  # it has died
                    cleaned = process.clean_up(transcription, sound)
                    if cleaned is not None:
                        return cleaned
            finally:
                self._free.put(process)
        return clean_up_transcription(transcription, sound)

    def close(self) -> None:
        """End the processes; clean-ups in progress are finished by this process."""
        if self._is_closed:
            return
        self._is_closed = True
        for process in self._processes:
            process.kill()
        for _ in self._processes:
            self._free.get().close()


class _Process:
    """One process, started when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def clean_up(
        self, transcription: Transcription, sound: RecordingSound | None
    ) -> Transcription | None:
        """Send a transcription and receive the result; None if the clean-up failed.

        Raises:
            OSError: the process has died.
            EOFError: it died meanwhile.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _start()
        requests, results = self._process.stdin, self._process.stdout
        assert requests is not None
        assert results is not None
        _send(requests, (transcription, sound))
        return _receive(results)

    def kill(self) -> None:
        """Kill the process, if there is one; from any thread."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Kill the process, and free what it held; not while it is used."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()


def main() -> None:
    """Clean up what comes over standard input until it ends."""
    # A library that prints must not write between the results.
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with results, contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            transcription, sound = _receive(sys.stdin.buffer)
            try:
                result = clean_up_transcription(transcription, sound)
            except Exception:  # noqa: BLE001 (the server gets the error when it tries itself)
                result = None
            _send(results, result)


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # NumPy's threads would only wait for each other on these small products.
        env=os.environ
        | {
            "PYTHONPATH": str(pathlib.Path(service.__path__[0]).parent),
            "OPENBLAS_NUM_THREADS": "1",
        },
        start_new_session=True,  # Ctrl-C is the server's
    )


def _send(stream: IO[bytes], message: object) -> None:
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) != _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) != length:
        raise EOFError
    return pickle.loads(content)  # noqa: S301 (from our own code, over our own pipe)


if __name__ == "__main__":
    main()
