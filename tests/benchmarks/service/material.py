"""The song that all callers send: the demo recording, repeated to a song's length."""

import io
from pathlib import Path

import numpy as np
import soundfile

_DEMO = Path(__file__).parents[2] / "demo" / "demo.ogg"
FORMATS = {"ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16"),
           "flac": ("FLAC", "PCM_16")}  # fmt: skip


def write_song(seconds: float, kind: str) -> bytes:
    """Return the song as a file of this kind, one of `FORMATS`."""
    samples, rate = soundfile.read(_DEMO, dtype="float32", always_2d=True)
    wanted = round(seconds * rate)
    repeated = np.tile(samples, (-(-wanted // len(samples)), 1))[:wanted]
    container, subtype = FORMATS[kind]
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, samples.shape[1], format=container, subtype=subtype
    ) as file:
        for first in range(0, wanted, rate):  # libsndfile's encoders overflow on a whole song
            file.write(repeated[first : first + rate])
    return buffer.getvalue()
