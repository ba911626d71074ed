"""Small recordings as seeds: their mutations reach more code than random bytes."""

import functools
import io
import pathlib
import tempfile

import numpy as np
import soundfile

from tests.unit.audio.encoded_recordings import KINDS, write_kind

SHORT_SECONDS = 0.1


@functools.cache
def seed_recordings() -> dict[str, bytes]:
    """Return a tenth of a second in each container and codec that the libraries can write."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            kind: write_kind(pathlib.Path(folder) / kind, kind, SHORT_SECONDS).read_bytes()
            for kind in KINDS
        }


def good_recording(seconds: float = 3.0) -> bytes:
    """Return a quiet tone as 16 kHz mono WAV, which every server must transcribe."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(2 * np.pi * 440 * times), 16_000, format="WAV")
    return buffer.getvalue()
