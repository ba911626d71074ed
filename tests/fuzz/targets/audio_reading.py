"""Read arbitrary bytes as a recording: finite mono samples within the limits, or an `AudioError`.

Decoders run in this process: a crash of libsndfile or FFmpeg ends the run. In the server it would
end the decoding process of one request, with the status 400.
"""

import numpy as np

from mt3_model.audio import process_messages, recording_reader
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.audio.samples import mixing
from mt3_model.audio.sources import (
    ffmpeg_clock,
    ffmpeg_frames,
    ffmpeg_source,
    part_source,
    recording_source,
    soundfile_source,
)
from tests.fuzz.sounds import seed_recordings
from tests.fuzz.targets import audio_structure
from tests.fuzz.targets.fuzzing import Violation, fuzz, refusals_allowed

MODULES = (
    *audio_structure.MODULES,
    recording_reader,
    ffmpeg_clock,
    ffmpeg_frames,
    ffmpeg_source,
    part_source,
    recording_source,
    soundfile_source,
    process_messages,
    mixing,
)
_RATE = 16_000
_LIMITS = ReadingLimits(max_seconds=30.0, max_channels=8)


def seeds() -> list[bytes]:
    """Return a recording of every kind."""
    return list(seed_recordings().values())


def check(data: bytes) -> None:
    """Check that blocks are finite, mono, and no longer than the limit."""
    descriptor = audio_structure.as_file(data)
    samples = 0
    with refusals_allowed():
        recording = recording_reader.RecordingReader(
            descriptor, sample_rate=_RATE, time_range=TimeRange(), limits=_LIMITS
        )
        try:
            for block in recording.blocks():
                samples += len(block)
                if block.ndim != 1 or not np.isfinite(block).all():
                    raise Violation(f"a block of shape {block.shape} is not finite mono")
        finally:
            recording.close()
    if samples > (_LIMITS.max_seconds + 2) * _RATE:
        raise Violation(f"{samples:,} samples with a limit of {_LIMITS.max_seconds} s")


if __name__ == "__main__":
    fuzz(check, seeds(), MODULES)
