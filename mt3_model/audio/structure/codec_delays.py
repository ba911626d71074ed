"""Samples that each codec's decoder returns before the first recorded sample.

Lossy codecs work in overlapping blocks, so an encoder puts silence in front of the sound, and every
decoder returns it. Most containers state how much of it to drop. Where one does not, only the
minimum that the codec needs is known. What an encoder adds to it is not known: FFmpeg's AAC encoder
adds nothing, Fraunhofer's adds the same amount again, Apple's adds 1,088 samples.
"""

from collections.abc import Mapping

LAYER3_DECODER_DELAY = 528 + 1
"""The two filter banks of a Layer III decoder. Source: LAME, "decoder delay"."""
LAYER3_DELAY = LAYER3_DECODER_DELAY + 576
"""The decoder's delay and the 576 samples that LAME and libmp3lame put in front by default; other
encoders differ by up to 600 samples."""
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
"""Codecs whose delay is one frame, half of their transform: 1,024 samples in AAC-LC, 2,048 where
spectral band replication doubles the rate."""


def codec_delay(codec: str, frame_samples: int) -> int:
    """Return the minimum delay of a codec in samples; 0 where there is none or it is unknown.

    Args:
        codec: FFmpeg's name of the codec, without the suffix of a variant.
        frame_samples: length of one decoded frame.
    """
    return frame_samples if codec in _ONE_FRAME else _FIXED.get(codec, 0)
