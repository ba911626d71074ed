"""A recording -> blocks of samples, decoded in a process of its own.

Decoders are the part of a transcription service that strangers can break: a wrong byte may crash
the library, hang it, or make it ask for all memory. So each recording is decoded by a child
(`worker.py`) that the system ends when it takes too much, and whose death is an `AudioFormatError`
like any other, unless somebody else killed it. The child gets the open file as its standard input
and sends frames (`framing.py`); the pipe between holds at most 64 KiB, so a slow reader slows the
decoder and memory stays flat on both sides.
"""

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator

import numpy as np

import mt3_model
from mt3_model.audio import process_messages, recording_reader
from mt3_model.audio.array_types import Float32
from mt3_model.audio.process_messages import FrameKind
from mt3_model.audio.reading_process import ReadingOptions
from mt3_model.audio.recording import AudioWarning, ReadingLimits, RecordingInfo, TimeRange
from mt3_model.errors import AudioFormatError, DecoderKilledError, MT3Error

_DEFAULT_LIMITS = ReadingLimits()
_WORKER = "mt3_model.audio.reading_process"


class Recording:
    """One recording being decoded by a child process. A context manager: leaving it ends the child.

    One thread reads; any thread may close it meanwhile, and the reading one then gets an
    `AudioFormatError`.
    """

    info: RecordingInfo
    """What the recording says of itself."""
    warnings: tuple[AudioWarning, ...]
    """Complete once `blocks` is exhausted."""

    def __init__(self, decoder: "_Decoder", sample_rate: int) -> None:
        """Waits for the child's description; made by `open_recording`."""
        self._decoder = decoder
        self._sample_rate = sample_rate
        self._samples = 0
        self.warnings = ()
        kind, payload = decoder.next_frame()
        if kind is not FrameKind.INFO:
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
        """Seconds of sound given so far, of the range asked for."""
        return self._samples / self._sample_rate

    def blocks(self) -> Iterator[Float32[np.ndarray, " _"]]:
        """Yields the range as mono blocks, about a second each and none empty; once.

        Raises:
            AudioError: the recording cannot be read on, or the range holds no sample.
            DecoderKilledError: the child was killed from outside.
        """
        try:
            while True:
                kind, payload = self._decoder.next_frame()
                match kind:
                    case FrameKind.BLOCK:
                        block = process_messages.unpack_block(payload)
                        self._samples += len(block)
                        if len(block):
                            yield block
                    case FrameKind.END:
                        self.warnings = process_messages.unpack_end(payload)
                        return
                    case FrameKind.ERROR:
                        raise process_messages.unpack_error(payload)
                    case FrameKind.INFO:
                        raise AudioFormatError("the decoder described the recording twice")
        finally:
            self.close()

    def close(self) -> None:
        """Ends the child at once, if it still runs; may be called again, and from a finalizer."""
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
    """Opens a recording in a process of its own.

    Args:
        path: The file; its name is not looked at.
        sample_rate: Hz of the blocks, the spec's.
        start: First second wanted, cut to the sample at the recording's own rate.
        end: Second after the last one wanted; absent: to the recording's end.
        audio_track: The audio track to read, counted from 1; absent: the container's default.
        limits: How much it may cost.

    Returns:
        The recording, described and ready; use it in a ``with`` statement.

    Raises:
        AudioFormatError: it is no audio, or the decoder crashed or stalled on it.
        AudioEmptyError: the range lies beyond the recording's end.
        AudioLimitError: it is longer or wider than ``limits`` allow.
        AudioTrackError: it has no such audio track.
        DecoderKilledError: the decoder was killed from outside; the recording may be sound.
        OptionError: ``start`` or ``end`` is out of range.
    """
    asked = TimeRange(start=start, end=end)
    options = ReadingOptions(
        sample_rate=sample_rate, asked=asked, limits=limits, audio_track=audio_track
    )
    with recording_reader.open_file(path) as file:
        decoder = _Decoder(file.fileno(), options)
    try:
        return Recording(decoder, sample_rate)
    except BaseException:
        decoder.close()
        raise


class _Decoder:
    """The child process, and the frames it sends."""

    def __init__(self, descriptor: int, options: ReadingOptions) -> None:
        # -P: the folder we are called from is not searched for modules. The environment is only
        # what Python needs to find this package: no keys of the deployment reach the decoders.
        environment = {
            "PYTHONPATH": str(pathlib.Path(mt3_model.__path__[0]).parent),
            "OPENBLAS_NUM_THREADS": "1",  # NumPy's threads cost address space and start-up time
            "MALLOC_ARENA_MAX": "2",
        }
        self._timeout_seconds = options.limits.decode_timeout_seconds
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-P", "-m", _WORKER, options.to_argument()],
            stdin=descriptor,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._closed = False
        self._reading = threading.RLock()  # the pipe is not closed under a thread that reads it
        self._poll = select.poll()
        self._poll.register(self._output.fileno(), select.POLLIN)

    def __del__(self) -> None:
        """A recording that nobody closed takes its child with it."""
        if hasattr(self, "_reading"):
            self.close()

    def next_frame(self) -> tuple[FrameKind, bytes]:
        """Waits for the child's next frame.

        Raises:
            AudioFormatError: the child died, stalled or talks nonsense.
            DecoderKilledError: somebody killed it.
        """
        with self._reading:
            if self._closed:
                raise _closed_error()
            kind, length = process_messages.unpack_header(
                self._receive(process_messages.HEADER.size)
            )
            return kind, self._receive(length)

    def close(self) -> None:
        """Kills and reaps the child; harmless when that is done."""
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        with self._reading:
            self._output.close()

    def _receive(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            if not self._poll.poll(self._timeout_seconds * 1_000):
                self.close()
                raise AudioFormatError(
                    f"the decoder gave nothing for {self._timeout_seconds:g} s and was ended; the "
                    "recording is damaged, or the machine overloaded"
                )
            piece = os.read(self._output.fileno(), count - len(received))
            if not piece:
                raise self._death()
            received += piece
        return bytes(received)

    def _death(self) -> MT3Error:
        """What to say of a child that ended without a last word."""
        if self._closed:
            return _closed_error()
        status = self._process.wait()
        if status == -signal.SIGXCPU:
            return AudioFormatError(
                "the decoder used up its processor time and was ended; the recording is damaged"
            )
        if status == -signal.SIGKILL:
            # Not by its own limits (worker.py): they end it by other signals, or by a MemoryError.
            return DecoderKilledError(
                "the decoder was killed from outside (signal SIGKILL), perhaps because the machine "
                "has too little memory; try again"
            )
        if status < 0:
            name = signal.Signals(-status).name
            return AudioFormatError(
                f"the decoder crashed (signal {name}); the recording is damaged, or made to do so"
            )
        return AudioFormatError(
            f"the decoder stopped without an answer (exit status {status}); the recording is "
            "taken as damaged"
        )


def _closed_error() -> AudioFormatError:
    return AudioFormatError("the recording was closed; open it again to read it")
