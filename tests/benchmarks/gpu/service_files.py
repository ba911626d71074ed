"""Make a checkpoint and a song for the service from the packed material.

python -m tests.benchmarks.gpu.service_files STORE CHECKPOINT.safetensors SONG.ogg
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from mt3_model.checkpoint.converted import ConvertedHeader, write_converted
from mt3_model.checkpoint.digest import digest_arrays
from mt3_model.checkpoint.loading import flatten_parameters
from mt3_model.spec import MT3
from tests.benchmarks.gpu.material import FULL_SCALE, read_clips, read_parameters

SONG_SECONDS = 178


def main(store: Path, checkpoint: Path, song: Path) -> None:
    """Write the parameters as a converted checkpoint, and the dense clip repeated to a song."""
    arrays = flatten_parameters(read_parameters(store))
    write_converted(arrays, checkpoint, ConvertedHeader(model="mt3", sha256=digest_arrays(arrays)))
    clip = next(clip for clip in read_clips(store) if clip.dense)
    rate = MT3.spectrogram.sample_rate
    whole = len(clip.samples) - len(clip.samples) % MT3.segment_samples  # so that segments repeat
    samples = np.resize(clip.samples[:whole], SONG_SECONDS * rate).astype(np.float32) / FULL_SCALE
    subtypes = {".ogg": "VORBIS", ".flac": "PCM_16"}
    with soundfile.SoundFile(song, "w", rate, 1, subtype=subtypes[song.suffix]) as file:
        for first in range(0, len(samples), rate):  # libsndfile's encoder overflows on a whole song
            file.write(samples[first : first + rate])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
