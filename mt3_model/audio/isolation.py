"""Decode a recording into blocks of samples, in a separate process.

Decoders are the part of a transcription service that untrusted input can break: one wrong byte may
crash the library, hang it, or make it allocate all memory. So each recording is decoded by its own
process (`reading_process.py`), which the system ends when it exceeds its limits. A crash
of that process is an `AudioFormatError`; being killed from outside is a `DecoderKilledError`. It
gets the open file as its standard input and sends messages (`process_messages.py`). The pipe holds
a few seconds of sound, so a slow reader slows the decoder, and memory stays flat in both processes.
"""

import contextlib
import io
import os
import pathlib
import select
import signal
import threading
import types
import weakref
from collections.abc import Iterator

import numpy as np

from mt3_model.audio import process_messages
from mt3_model.audio.array_types import Float32
from mt3_model.audio.decoder_process import DecoderProcess, start_decoder
from mt3_model.audio.file_views import open_copies, open_file
from mt3_model.audio.process_messages import MAX_COPIES, MessageKind, ReadingOptions
from mt3_model.audio.recording import AudioWarning, ReadingLimits, RecordingInfo, TimeRange
from mt3_model.cores import usable_cores
from mt3_model.errors import (
    SHORTAGES,
    AudioFormatError,
    DecoderKilledError,
    DecoderStartError,
    MT3Error,
)

_DEFAULT_LIMITS = ReadingLimits()
_LEAST_BYTES_TO_COPY = 256 << 10
"""Smaller recordings are decoded in one thread."""


class Recording:
    """A recording that another process decodes. Leaving it as a context manager ends that process.

    One thread reads. Any other thread may close the recording in the meantime; the reading thread
    then gets an `AudioFormatError`.
    """

    info: RecordingInfo
    warnings: tuple[AudioWarning, ...]
    """Complete once `blocks` is exhausted."""

    def __init__(self, decoder: "_Decoder", sample_rate: int) -> None:
        """Wait for the child's description of the recording; `open_recording` calls this."""
        self._decoder = decoder
        self._sample_rate = sample_rate
        self._samples = 0
        self.warnings = ()
        kind, payload = decoder.next_message()
        if kind is not MessageKind.INFO:
            raise process_messages.unpack_error(payload)
        self.info = process_messages.unpack_info(payload)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Seconds of sound read so far, of the requested range."""
        return self._samples / self._sample_rate

    def blocks(self) -> Iterator[Float32[np.ndarray, " _"]]:
        """Yield the range as mono blocks, about a second each and none empty; may be called once.

        Raises:
            AudioError: the recording cannot be read further, or the range has no sample.
            DecoderKilledError: the child was killed from outside.
        """
        try:
            while True:
                kind, payload = self._decoder.next_message()
                match kind:
                    case MessageKind.BLOCK:
                        block = process_messages.unpack_block(payload)
                        self._samples += len(block)
                        if len(block):
                            yield block
                    case MessageKind.END:
                        self.warnings = process_messages.unpack_end(payload)
                        return
                    case MessageKind.ERROR:
                        raise process_messages.unpack_error(payload)
                    case MessageKind.INFO:
                        raise AudioFormatError("the decoder described the recording twice")
        finally:
            self.close()

    def close(self) -> None:
        """End the child at once if it still runs; may be called repeatedly and by a finalizer."""
        self._decoder.close()


def open_recording(
    path: pathlib.Path,
    *,
    sample_rate: int,
    start: float = 0.0,
    end: float | None = None,
    audio_track: int | None = None,
    limits: ReadingLimits = _DEFAULT_LIMITS,
) -> Recording:
    """Open a recording in a separate process.

    Args:
        path: the file; its name does not matter.
        sample_rate: sample rate of the blocks in Hz.
        start: start of the range in seconds, cut to the sample at the recording's own rate.
        end: end of the range in seconds; None for the end of the recording.
        audio_track: the audio track to read, counted from 1; None for the container's default.
        limits: limits on length, channels, sample rate, waiting time and memory.

    Returns:
        The recording with its description; use it in a ``with`` statement.

    Raises:
        AudioFormatError: it is not audio, or the decoder crashed or stalled on it.
        AudioEmptyError: the range begins after the end of the recording.
        AudioLimitError: length, channels or sample rate exceed ``limits``.
        AudioTrackError: there is no such audio track.
        DecoderStartError: the machine lacks descriptors, processes or memory for the moment.
        DecoderKilledError: the decoder was killed from outside; the recording may be good.
        OptionError: ``start`` or ``end`` is out of range.
    """
    options = ReadingOptions(
        sample_rate=sample_rate,
        time_range=TimeRange(start=start, end=end),
        limits=limits,
        audio_track=audio_track,
    )
    try:
        with open_file(path) as file:
            decoder = _Decoder(_start_decoder(path, file, options), options.limits)
    except OSError as error:
        raise DecoderStartError(
            f"the decoder cannot be started: {error.strerror or error}; the machine is short of "
            "resources, so try again later"
        ) from error
    try:
        return Recording(decoder, sample_rate)
    except BaseException:
        decoder.close()
        raise


class _Decoder:
    """The decoding process and its messages."""

    def __init__(self, process: DecoderProcess, limits: ReadingLimits) -> None:
        self._timeout_seconds = limits.decode_timeout_seconds
        self._process = process
        self._closed = False
        self._reading = threading.RLock()  # keeps `close` from closing the pipe during a read
        self._poll = select.poll()
        self._poll.register(self._process.output, select.POLLIN)
        # Ends the process of a recording that was not closed, also at the interpreter's exit, where
        # a `__del__` might run after the modules that it uses are gone.
        weakref.finalize(self, _end, self._process, self._reading)

    def next_message(self) -> tuple[MessageKind, bytearray]:
        """Wait for the process's next message; return its kind and payload.

        Raises:
            AudioFormatError: the process crashed, stalled or sent an invalid message.
            DecoderKilledError: the process was killed from outside.
        """
        with self._reading:
            if self._closed:
                raise _closed_error()
            kind, length = process_messages.unpack_header(
                self._receive(process_messages.HEADER.size)
            )
            return kind, self._receive(length)

    def close(self) -> None:
        """Kill and reap the process; does nothing if that is done."""
        self._closed = True
        _end(self._process, self._reading)

    def _receive(self, count: int) -> bytearray:
        received = bytearray(count)
        rest = memoryview(received)
        while rest:
            if not self._poll.poll(self._timeout_seconds * 1_000):
                self.close()
                raise AudioFormatError(
                    f"the decoder sent nothing for {self._timeout_seconds:g} s and was stopped;"
                    " the recording is damaged, or the machine is overloaded"
                )
            read = os.readv(self._process.output, [rest])
            if not read:
                raise self._exit_error()
            rest = rest[read:]
        return received

    def _exit_error(self) -> MT3Error:
        """Return the error for a process that ended without a last message."""
        if self._closed:
            return _closed_error()
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return AudioFormatError(
                "the decoder used up its processor time and was stopped; the recording is damaged"
            )
        if code is None or code == -signal.SIGKILL:
            # Not one of its own limits: those cause other signals or a MemoryError.
            return DecoderKilledError(
                "the decoder was killed from outside (signal SIGKILL), perhaps because the machine "
                "has too little memory; try again"
            )
        if code < 0:
            name = signal.Signals(-code).name
            return AudioFormatError(
                f"the decoder crashed (signal {name}); the recording is damaged, or made to crash"
                " it"
            )
        return AudioFormatError(
            f"the decoder stopped without an answer (exit status {code}); the recording is "
            "treated as damaged"
        )


def _start_decoder(path: pathlib.Path, file: io.FileIO, options: ReadingOptions) -> DecoderProcess:
    """Start the decoding process, with copies of the descriptor unless this process has too few."""
    with contextlib.ExitStack() as stack:
        copies = open_copies(path, file, _copies(file))
        for copy in copies:
            stack.enter_context(copy)
        try:
            return start_decoder(file.fileno(), options, [copy.fileno() for copy in copies])
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
    return start_decoder(file.fileno(), options)


def _copies(file: io.FileIO) -> int:
    """Return how often to open a recording again: once for each thread that may decode it."""
    if os.fstat(file.fileno()).st_size < _LEAST_BYTES_TO_COPY:
        return 0
    cores = usable_cores()
    return min(MAX_COPIES, cores) if cores > 1 else 0


def _end(process: DecoderProcess, reading: threading.RLock) -> None:
    """Kill and reap a decoding process; does nothing if that is done."""
    process.kill()
    with reading:
        process.close()


def _closed_error() -> AudioFormatError:
    return AudioFormatError("the recording was closed; open it again to read it")
