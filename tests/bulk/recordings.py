"""Write small recordings to transcribe in bulk."""

import numpy as np
import soundfile

SAMPLE_RATE = 16_000


def write_recordings(folder, count, seconds=3.0):
    """Write recordings and return their keys: some in subfolders, one with special characters."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, int(seconds * SAMPLE_RATE))
    keys = []
    for number in range(count):
        place = f"album {number % 4}/" if number % 3 == 0 else ""
        name = "50% größer #1?" if number == 1 else f"{number:03d}"
        key = f"{place}{name}.wav"
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / key, samples, SAMPLE_RATE)
        keys.append(key)
    return keys


def files(folder):
    """Return all files below a folder, as keys."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
