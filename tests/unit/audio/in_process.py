"""Read recordings in the test's own process, where `isolation.py` would start another."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from mt3_model.audio.file_views import open_copies, open_file
from mt3_model.audio.recording import AudioWarning, ReadingLimits, RecordingInfo, TimeRange
from mt3_model.audio.recording_reader import RecordingReader

SAMPLE_RATE = 16_000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadRecording:
    """A recording read to its end."""

    samples: np.ndarray
    info: RecordingInfo
    warnings: tuple[AudioWarning, ...]


@contextlib.contextmanager
def open_reader(
    path: pathlib.Path,
    *,
    sample_rate: int = SAMPLE_RATE,
    audio_track: int | None = None,
    limits: ReadingLimits | None = None,
    copies: int = 0,
    **time_range: float | None,
) -> Iterator[RecordingReader]:
    """Open a recording; `time_range` is ``start`` and ``end`` in seconds.

    With `copies`, a flac or ogg is decoded in as many threads.
    """
    wanted = TimeRange(**time_range)
    with (
        contextlib.ExitStack() as stack,
        open_file(path) as file,
        contextlib.closing(
            RecordingReader(
                file.fileno(),
                sample_rate=sample_rate,
                time_range=wanted,
                limits=ReadingLimits() if limits is None else limits,
                audio_track=audio_track,
                copies=[
                    stack.enter_context(copy).fileno() for copy in open_copies(path, file, copies)
                ],
            )
        ) as reader,
    ):
        yield reader


def read_recording(path: pathlib.Path, **options) -> ReadRecording:
    """Read a recording; the options are those of `open_reader`."""
    with open_reader(path, **options) as reader:
        samples = np.concatenate([*reader.blocks()])
        return ReadRecording(samples=samples, info=reader.info, warnings=reader.warnings)


def read_blocks(path, copies: int, **options) -> tuple[list[bytes], tuple]:
    """Return the blocks, and the description with the warnings; `copies` as in `open_reader`."""
    with open_reader(path, copies=copies, **options) as reader:
        # Empty blocks show progress, and there are more of them after damage.
        blocks = [block.tobytes() for block in reader.blocks() if len(block)]
        return blocks, (reader.info, reader.warnings)
