"""Sound below 2 kHz -> its magnitude spectra, block by block, so that memory stays flat."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from mt3_model.postprocessing.low_band import LowBand

_BLOCK_SECONDS = 30.0


def compute_spectra(
    sound: LowBand, *, window: int, hop: int, fft_size: int | None = None, least: int = 1
) -> Iterator[Float32[np.ndarray, "T F"]]:
    """Yield the magnitude spectra of blocks of 30 s.

    No window crosses the border of a block.

    Args:
        sound: the recording.
        window: length of the Hann window, samples of the low band.
        hop: samples between windows.
        fft_size: length with zeros appended; the window's where it is not given.
        least: the fewest windows of a block; a shorter block is left out.
    """
    samples = sound.values()
    block = round(_BLOCK_SECONDS * sound.sample_rate)
    weights = np.hanning(window).astype(np.float32) / np.float32(np.iinfo(np.int16).max)
    for first in range(0, len(samples), block):
        piece = samples[first : first + block]
        if len(piece) < window + (least - 1) * hop:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(piece, window)[::hop]
        spectra = np.fft.rfft(windows * weights, fft_size or window, axis=1)
        yield np.abs(spectra).astype(np.float32)
