"""The decoding process: reads a file from standard input, writes blocks to standard output.

The fork server (`fork_server.py`) forks, and calls `main` in the child. The decoders are large C
libraries that parse untrusted bytes, so this process has nothing worth stealing: the file is
already open, no name or address is passed, and the environment is empty. Limits on memory,
processor time, file size and open files are set before the first byte is read. On Linux, no child
process can gain privileges.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence

import numpy as np

from mt3_model.audio import process_messages, recording_reader
from mt3_model.audio.process_messages import ReadingOptions
from mt3_model.errors import AudioError, AudioFormatError

INPUT, OUTPUT = 0, 1
"""Descriptors of the recording and of the messages."""
FIRST_COPY = 3
"""The first of the further descriptors of the recording; 2 is that of error messages."""
_CPU_SECONDS = 120
_CPU_GRACE_SECONDS = 5
"""Time between SIGXCPU, by which the parent recognizes this limit, and SIGKILL."""
_CPU_SHARE = 0.25
"""Processor seconds allowed for a second of sound: decoding is at least 20 times faster."""
_MAX_CPU_SECONDS = 1_000_000
"""Enough for 46 days of sound; `max_seconds` may be infinite, for which the system has no value."""
_MAX_BLOCK_SAMPLES = 1 << 20
_OPEN_FILES = 32
"""The three pipes, the copies, and a few files that a library opens for a moment."""
_PR_SET_NO_NEW_PRIVS = 38
"""Source: linux/prctl.h."""


def main(argument: str, copies: int) -> int:
    """Decode standard input to standard output; return the exit status.

    Args:
        argument: the result of `ReadingOptions.to_argument`.
        copies: number of further descriptors of the recording, with positions of their own.
    """
    options = ReadingOptions.from_argument(argument)
    _limit_resources(options)
    try:
        _decode(options, range(FIRST_COPY, FIRST_COPY + copies))
    except AudioError as error:
        _send(process_messages.pack_error(error))
    except MemoryError:
        gibibytes = options.limits.max_memory_bytes / (1 << 30)
        _send(
            process_messages.pack_error(
                AudioFormatError(
                    f"decoding needs more memory than the limit of {gibibytes:g} GiB; the "
                    "recording is damaged, or max_memory_bytes is too small"
                )
            )
        )
    except BrokenPipeError:
        return 0  # the parent closed the pipe
    except Exception as error:  # noqa: BLE001  # the outer edge of the process
        _send(
            process_messages.pack_error(
                AudioFormatError(
                    f"the decoder failed on it ({type(error).__name__}: {error}); the recording "
                    "is treated as damaged"
                )
            )
        )
    return 0


def cpu_seconds(options: ReadingOptions) -> int:
    """Return the processor time after which the system ends the process."""
    # Sound before the start may have to be decoded too. The bound keeps a start beyond any
    # recording from removing the limit.
    before = min(options.time_range.start, 10 * options.limits.max_seconds)
    allowed = _CPU_SECONDS + (before + options.limits.max_seconds) * _CPU_SHARE
    return int(min(allowed, _MAX_CPU_SECONDS))


def _decode(options: ReadingOptions, copies: Sequence[int]) -> None:
    reader = recording_reader.RecordingReader(
        INPUT,
        sample_rate=options.sample_rate,
        time_range=options.time_range,
        limits=options.limits,
        audio_track=options.audio_track,
        copies=copies,
    )
    _send(process_messages.pack_info(reader.info))
    for block in reader.blocks():
        for piece in np.split(block, range(_MAX_BLOCK_SAMPLES, len(block), _MAX_BLOCK_SAMPLES)):
            _send(process_messages.pack_block(piece))
    _send(process_messages.pack_end(reader.warnings))


def _limit_resources(options: ReadingOptions) -> None:
    cpu = cpu_seconds(options)
    limits = (
        (resource.RLIMIT_AS, options.limits.max_memory_bytes, 0),
        (resource.RLIMIT_CPU, cpu, _CPU_GRACE_SECONDS),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, 0),
    )
    for kind, value, grace in limits:
        _, hard = resource.getrlimit(kind)
        lowered = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
        resource.setrlimit(kind, (min(value, lowered), lowered))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _send(message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(OUTPUT, view) :]
