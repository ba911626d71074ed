"""Samples [B, T*hop] -> log-mel [B, T, F] on the device, equal to MT3's ``compute_logmel``.

Each segment is transformed on its own with zeros after its end, so frames near a border never see
the next segment; the magnitude (not the power) goes through the mel matrix; the natural logarithm
replaces only values at or below zero, by 1e-5, which is no floor: digital silence gives log(1e-5)
where the transform is exactly zero and the logarithm of rounding noise where it is not.
Frames past the segment's true length become rows of 0.0 in the log-mel, as the original's padding
does, and nothing downstream masks them.

Source: magenta/mt3 fa04532, spectral_ops.py:31-96 and spectrograms.py:60-70.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from mt3_model.spec import SpectrogramSpec
from mt3_model.spectrogram.mel import analysis_window, mel_matrix

LOG_OF_NOTHING = 1e-5
"""What replaces values <= 0 before the logarithm. Source: spectral_ops.py:31 (``safe_log``)."""


def compute_logmel(
    samples: Float32[Array, "B N"], frames: Int32[Array, "B"], spec: SpectrogramSpec
) -> Float32[Array, "B T F"]:
    """Log-mel of each segment.

    Args:
        samples: Segments, ``N = T * hop_width`` samples each, zeros after the recording's end.
        frames: True frames of each segment; rows from there on are 0.0.
        spec: The front end's sizes.

    Returns:
        ``[B, T, F]``: frame t covers samples ``t*hop .. t*hop + fft_size``.
    """
    with jax.named_scope("logmel"):
        windowed = _frame(samples, spec) * analysis_window(spec)  # [B, T, fft_size]
        magnitude = jnp.abs(jnp.fft.rfft(windowed))  # [B, T, fft_size / 2 + 1]
        mel = jnp.einsum("btk,kf->btf", magnitude, mel_matrix(spec))
        logmel = jnp.log(jnp.where(mel <= 0.0, LOG_OF_NOTHING, mel))
        valid = jnp.arange(logmel.shape[1])[None, :] < frames[:, None]  # [B, T]
        return jnp.where(valid[:, :, None], logmel, 0.0)


def _frame(samples: Float32[Array, "B N"], spec: SpectrogramSpec) -> Float32[Array, "B T W"]:
    """Overlapping frames, built from whole hops: frame t is hops t .. t + fft_size/hop - 1."""
    hops_per_frame = spec.fft_size // spec.hop_width
    hops = samples.reshape(samples.shape[0], -1, spec.hop_width)  # [B, T, hop]
    total = hops.shape[1]
    hops = jnp.pad(hops, ((0, 0), (0, hops_per_frame - 1), (0, 0)))
    shifted = [hops[:, i : i + total] for i in range(hops_per_frame)]
    return jnp.concatenate(shifted, axis=2)  # [B, T, fft_size]
