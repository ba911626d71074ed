"""Samples [B, T*hop] -> log-mel [B, T, F] on the device, equal to MT3's ``compute_logmel``.

Each segment is transformed separately with zeros after its end, so its last frames do not contain
samples of the next segment. The mel matrix multiplies the magnitude, not the power. Before the
natural logarithm only values at or below zero are replaced by 1e-5. This is not a floor: digital
silence gives log(1e-5) where the transform is exactly zero, and the logarithm of rounding noise
where it is not. Frames after the segment's true length are rows of 0.0 in the log-mel, like the
original's padding; later stages do not mask them.

Source: magenta/mt3 fa04532, spectral_ops.py:31-96 and spectrograms.py:60-70.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from mt3_model.spec import SpectrogramSpec
from mt3_model.spectrogram.mel import analysis_window, mel_matrix

ZERO_REPLACEMENT = 1e-5
"""Replaces values <= 0 before the logarithm. Source: spectral_ops.py:31 (``safe_log``)."""


def compute_logmel(
    samples: Float32[Array, "B N"], frames: Int32[Array, "B"], spec: SpectrogramSpec
) -> Float32[Array, "B T F"]:
    """Compute the log-mel of each segment.

    Args:
        samples: ``[B, N]`` segments of ``N = T * hop_width`` samples, with zeros after the end of
            the recording.
        frames: ``[B]``, the true number of frames of each segment; later rows are 0.0.
        spec: The sizes of the front end.

    Returns:
        ``[B, T, F]`` natural logarithms; frame t covers samples ``t*hop .. t*hop + fft_size``.
    """
    with jax.named_scope("logmel"):
        windowed = _frame(samples, spec) * analysis_window(spec)  # [B, T, fft_size]
        magnitude = jnp.abs(jnp.fft.rfft(windowed))  # [B, T, fft_size / 2 + 1]
        mel = jnp.einsum("btk,kf->btf", magnitude, mel_matrix(spec))
        logmel = jnp.log(jnp.where(mel <= 0.0, ZERO_REPLACEMENT, mel))
        valid = jnp.arange(logmel.shape[1])[None, :] < frames[:, None]  # [B, T]
        return jnp.where(valid[:, :, None], logmel, 0.0)


def _frame(samples: Float32[Array, "B N"], spec: SpectrogramSpec) -> Float32[Array, "B T W"]:
    """Return overlapping frames ``[B, T, W]``; frame t is hops t .. t + fft_size/hop - 1."""
    hops_per_frame = spec.fft_size // spec.hop_width
    hops = samples.reshape(samples.shape[0], -1, spec.hop_width)  # [B, T, hop]
    total = hops.shape[1]
    hops = jnp.pad(hops, ((0, 0), (0, hops_per_frame - 1), (0, 0)))
    shifted = [hops[:, i : i + total] for i in range(hops_per_frame)]
    return jnp.concatenate(shifted, axis=2)  # [B, T, fft_size]
