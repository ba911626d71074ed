"""Any rate -> the spec's rate, block by block.

The original loads with librosa, whose default resampler is soxr at quality HQ over the whole
recording (Source: magenta/mt3 fa04532, Colab ``upload_audio`` -> note_seq
``wav_data_to_samples_librosa`` -> ``librosa.load(sr=16000)``). soxr's stream of the same quality
gives the same samples bit for bit whatever the blocks, and needs a few blocks of memory instead
of the recording. Two conventions of ``librosa.resample`` are kept: samples already at the target
rate pass untouched, and the length is ``ceil(n * (target / rate))`` in float64, reached by
cutting or by zeros.
"""

import math

import numpy as np
import soxr

from mt3_model.audio.array_types import Float32


class Resampler:
    """A stream of mono samples at one rate in, at another rate out."""

    def __init__(self, *, source_rate: int, target_rate: int) -> None:
        """Prepares for one recording.

        Args:
            source_rate: Hz of the blocks given.
            target_rate: Hz of the blocks returned.
        """
        self._ratio = target_rate / source_rate
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
        )
        self._taken = 0
        self._given = 0

    def resample(self, block: Float32[np.ndarray, " _"]) -> Float32[np.ndarray, " _"]:
        """Takes the next samples and returns those that are ready; their number varies."""
        if self._stream is None:
            return block
        self._taken += len(block)
        samples = self._stream.resample_chunk(np.ascontiguousarray(block))
        self._given += len(samples)
        return samples

    def finish(self) -> Float32[np.ndarray, " _"]:
        """Returns what is left; nothing may be given afterwards."""
        if self._stream is None:
            return np.empty(0, np.float32)
        samples = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        # librosa.resample(fix=True): fix_length to int(np.ceil(n * ratio)), with this very ratio.
        wanted = math.ceil(self._taken * self._ratio) - self._given
        if wanted < 0:
            raise AssertionError("soxr gave more samples than the recording has")
        return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
