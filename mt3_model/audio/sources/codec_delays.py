"""A codec -> how many samples its decoder gives before the first one that was recorded.

Lossy codecs work in overlapping blocks, so that an encoder puts silence in front, and every
decoder gives it back. Most containers say how much of it to drop. Where one does not, the least
that the codec itself forces is known, and what an encoder adds to that is not: FFmpeg's AAC adds
nothing, Fraunhofer's as much again, Apple's 1,088 samples.
"""

from collections.abc import Mapping

LAYER3_DELAY = 528 + 1 + 576
"""The two filter banks of a Layer III decoder (LAME, "decoder delay"), and what LAME puts in
front unless asked otherwise; other encoders differ by up to 0.6 of it."""
LAYER12_DELAY = 481
"""The filter bank of 512 taps over 32 bands, encoder and decoder together: 512 - 32 + 1."""
_AC3_DELAY = 256
"""Half a transform. Source: ATSC A/52, 7.9."""
_OPUS_DELAY = 312
"""6.5 ms at 48 kHz: libopus outside its low-delay mode, where no header states the pre-skip."""
_FIXED: Mapping[str, int] = {
    "ac3": _AC3_DELAY,
    "eac3": _AC3_DELAY,
    "mp1": LAYER12_DELAY,
    "mp2": LAYER12_DELAY,
    "mp3": LAYER3_DELAY,
    "opus": _OPUS_DELAY,
}
_ONE_FRAME = frozenset({"aac", "aac_latm"})
"""Codecs whose frame is half their transform: 1,024 samples in AAC-LC, twice as many where
spectral band replication doubles the rate."""


def codec_delay(codec: str, frame_samples: int) -> int:
    """Returns the samples that a codec forces in front; 0 where none or not known.

    Args:
        codec: FFmpeg's name of the codec, without the suffix of a variant.
        frame_samples: length of one decoded frame.
    """
    return frame_samples if codec in _ONE_FRAME else _FIXED.get(codec, 0)
