"""The decoding process: a file on standard input, frames of samples on standard output.

`isolation.py` runs it as ``python -m mt3_model.audio.reading_process OPTIONS``. The decoders are
large C libraries that parse untrusted bytes, so this process gets nothing worth stealing: the file
is already open, no name or address is passed, and the environment is empty. Limits on memory,
processor time, file size and open files are set before the first byte is read. On Linux, no child
process can gain privileges.
"""

import ctypes
import dataclasses
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence

import numpy as np

from mt3_model.audio import process_messages, recording_reader
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.errors import AudioError, AudioFormatError

_INPUT, _OUTPUT = 0, 1
_CPU_SECONDS = 120
_CPU_GRACE_SECONDS = 5
"""Between the signal of this limit, which says what it is, and the kill that nothing outlives."""
_CPU_SHARE = 0.25
"""Processor seconds allowed for a second of sound: sound decodes 20 times faster at the least."""
_MAX_BLOCK_SAMPLES = 1 << 20
_OPEN_FILES = 32
"""The three pipes, and room for what a library opens for a moment; no fan of sockets."""
_PR_SET_NO_NEW_PRIVS = 38
"""Source: linux/prctl.h."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadingOptions:
    """What the process is told on its command line."""

    sample_rate: int
    asked: TimeRange
    limits: ReadingLimits
    audio_track: int | None = None

    def to_argument(self) -> str:
        """Returns the options as one command-line argument."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> "ReadingOptions":
        """Reads what `to_argument` wrote."""
        fields = json.loads(argument)
        return cls(
            sample_rate=fields["sample_rate"],
            asked=TimeRange(**fields["asked"]),
            limits=ReadingLimits(**fields["limits"]),
            audio_track=fields["audio_track"],
        )

    @property
    def cpu_seconds(self) -> int:
        """Processor time after which the system ends the process."""
        # What lies before the start may have to be decoded too; a start beyond any recording
        # must not lift the limit.
        before = min(self.asked.start, 10 * self.limits.max_seconds)
        return _CPU_SECONDS + int((before + self.limits.max_seconds) * _CPU_SHARE)


def main(arguments: Sequence[str]) -> int:
    """Decodes standard input to standard output; returns the exit status."""
    options = ReadingOptions.from_argument(arguments[0])
    _limit_resources(options)
    try:
        _decode(options)
    except AudioError as error:
        _send(process_messages.pack_error(error))
    except MemoryError:
        gibibytes = options.limits.max_memory_bytes / (1 << 30)
        _send(
            process_messages.pack_error(
                AudioFormatError(
                    f"decoding needs more memory than the limit of {gibibytes:g} GiB; the "
                    "recording is damaged, or max_memory_bytes too small"
                )
            )
        )
    except BrokenPipeError:
        return 0  # the caller has gone
    except Exception as error:  # noqa: BLE001  # the process's outer edge: told to the caller
        _send(
            process_messages.pack_error(
                AudioFormatError(
                    f"the decoder failed on it ({type(error).__name__}: {error}); the recording "
                    "is taken as damaged"
                )
            )
        )
    return 0


def _decode(options: ReadingOptions) -> None:
    current = recording_reader.RecordingReader(
        _INPUT,
        sample_rate=options.sample_rate,
        asked=options.asked,
        limits=options.limits,
        audio_track=options.audio_track,
    )
    _send(process_messages.pack_info(current.info))
    for block in current.blocks():
        for piece in np.split(block, range(_MAX_BLOCK_SAMPLES, len(block), _MAX_BLOCK_SAMPLES)):
            _send(process_messages.pack_block(piece))
    _send(process_messages.pack_end(current.warnings))


def _limit_resources(options: ReadingOptions) -> None:
    cpu = options.cpu_seconds
    wanted = (
        (resource.RLIMIT_AS, options.limits.max_memory_bytes, 0),
        (resource.RLIMIT_CPU, cpu, _CPU_GRACE_SECONDS),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, 0),
    )
    for kind, value, grace in wanted:
        _, hard = resource.getrlimit(kind)
        lowered = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
        resource.setrlimit(kind, (min(value, lowered), lowered))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _send(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(_OUTPUT, view) :]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to act on
    # No orderly shutdown: there is nothing to save, and freeing costs time.
    os._exit(main(sys.argv[1:]))
