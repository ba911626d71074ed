"""Resample from any rate to the model's rate, block by block.

The original loads with librosa, whose default resampler is soxr at quality HQ over the whole
recording (Source: magenta/mt3 fa04532, Colab ``upload_audio`` -> note_seq
``wav_data_to_samples_librosa`` -> ``librosa.load(sr=16000)``). soxr's stream of the same quality
returns the same samples bit for bit, whatever the sizes of the blocks, and needs memory for a few
blocks instead of the recording. Two conventions of ``librosa.resample`` are kept: samples already
at the target rate pass unchanged, and the length is ``ceil(n * (target / rate))`` in float64,
reached by cutting or by zeros.
"""

import math

import numpy as np
import soxr

from mt3_model.audio.array_types import Float32


class Resampler:
    """Resamples a stream of mono samples."""

    def __init__(self, *, source_rate: int, target_rate: int) -> None:
        """Prepare for one recording.

        Args:
            source_rate: sample rate of the input in Hz.
            target_rate: sample rate of the output in Hz.
        """
        self._ratio = target_rate / source_rate
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
        )
        self._read = 0
        self._written = 0

    def resample(self, block: Float32[np.ndarray, " _"]) -> Float32[np.ndarray, " _"]:
        """Resample the next block; return the samples ready so far, whose number varies."""
        if self._stream is None:
            return block
        self._read += len(block)
        samples = self._stream.resample_chunk(np.ascontiguousarray(block))
        self._written += len(samples)
        return samples

    def finish(self) -> Float32[np.ndarray, " _"]:
        """Return the remaining samples; `resample` may not be called afterwards."""
        if self._stream is None:
            return np.empty(0, np.float32)
        samples = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        # librosa.resample(fix=True): fix_length to int(np.ceil(n * ratio)), with this very ratio.
        wanted = math.ceil(self._read * self._ratio) - self._written
        if wanted < 0:
            raise AssertionError("soxr returned more samples than the recording has")
        return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
