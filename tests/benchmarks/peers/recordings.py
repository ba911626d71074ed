"""Prepare the file that every system transcribes: the recording, or it cut or repeated.

Formats are those of libsndfile, which all systems here read.
"""

from pathlib import Path

import soundfile


def seconds_of(recording: Path) -> float:
    """Return the length of a recording."""
    return soundfile.info(recording).duration


def fit_recording(recording: Path, seconds: float, target: Path) -> Path:
    """Write the recording, cut or repeated to exactly ``seconds``, as mono FLAC."""
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)  # [N]
    with soundfile.SoundFile(target, "w", rate, 1, format="FLAC") as file:
        missing = round(seconds * rate)
        while missing > 0:
            file.write(mono[:missing])
            missing -= len(mono)
    return target
