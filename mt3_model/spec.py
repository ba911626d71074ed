"""What a published model fixes: front end, vocabulary, network and segment sizes, as data.

A spec is not a setting: changing a number here makes another model. The numbers are those of the
gin files of magenta/mt3 fa04532 and of the code they configure; each line names its source. The
module imports nothing of ours, so that everything else may import it.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

ProgramGranularity = Literal["flat", "midi_class", "full"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpectrogramSpec:
    """Samples to log-mel. Source: magenta/mt3 spectrograms.py:24-33 and spectral_ops.py:73."""

    sample_rate: int = 16_000
    """Hz (DEFAULT_SAMPLE_RATE)."""
    hop_width: int = 128
    """Samples between frames: 8 ms (DEFAULT_HOP_WIDTH)."""
    fft_size: int = 2_048
    """Samples of one Hann window and of its transform (FFT_SIZE)."""
    mel_bins: int = 512
    """DEFAULT_NUM_MEL_BINS."""
    mel_low_hz: float = 20.0
    """MEL_LO_HZ."""
    mel_high_hz: float = 7_600.0
    """The default ``hi_hz`` of ``compute_logmel``; not the Nyquist frequency."""

    @property
    def frames_per_second(self) -> float:
        """125.0 for the published models."""
        return self.sample_rate / self.hop_width


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VocabularySpec:
    """Which events there are. Source: magenta/mt3 vocabularies.py:30-140."""

    steps_per_second: int = 100
    """Symbolic steps: 10 ms (DEFAULT_STEPS_PER_SECOND)."""
    max_shift_steps: int = 1_000
    """The longest shift of one event: 10 s (DEFAULT_MAX_SHIFT_SECONDS)."""
    velocity_bins: int
    """Bins above zero; bin 0 always means note-off (NUM_VELOCITY_BINS)."""
    uses_ties: bool
    """Whether segments open with a tie section (USE_TIES)."""
    program_granularity: ProgramGranularity
    """PROGRAM_GRANULARITY."""
    extra_tokens: int = 100
    """Unused tokens at the end (DEFAULT_NUM_EXTRA_IDS)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """T5.1.1 sizes. Source: magenta/mt3 gin/model.gin, gin/ismir2022/base.gin."""

    width: int = 512
    """emb_dim, D."""
    heads: int = 6
    """num_heads, H."""
    head_width: int = 64
    """head_dim, K."""
    mlp_width: int = 1_024
    """mlp_dim, of the gated GELU."""
    encoder_layers: int = 8
    decoder_layers: int = 8
    vocabulary_size: int
    """Rows of the embedding: tokens rounded up to a multiple of 128 (num_embeddings)."""
    input_width: int = 512
    """Mel bins of an encoder input frame (input_depth)."""
    max_positions: int = 2_048
    """Rows of the fixed position table (FixedEmbed.max_length)."""
    norm_epsilon: float = 1e-6
    """LayerNorm.epsilon."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One published model."""

    name: str
    spectrogram: SpectrogramSpec
    vocabulary: VocabularySpec
    network: NetworkSpec
    segment_frames: int
    """T: frames the encoder sees at once (TASK_FEATURE_LENGTHS['inputs'])."""
    max_tokens: int = 1_024
    """L: most tokens generated for a segment (TASK_FEATURE_LENGTHS['targets'])."""

    @property
    def segment_samples(self) -> int:
        """T * hop width: 32,768 for MT3."""
        return self.segment_frames * self.spectrogram.hop_width

    @property
    def segment_seconds(self) -> float:
        """2.048 s for MT3."""
        return self.segment_samples / self.spectrogram.sample_rate


# Tokens: 3 specials + events + 100 extras, rounded up to a multiple of 128 for the embedding.
# One velocity bin: 3 + 1,388 + 100 = 1,491 -> 1,536; 127 bins: 3 + 1,514 + 100 = 1,617 -> 1,664.
_MULTITRACK = VocabularySpec(velocity_bins=1, uses_ties=True, program_granularity="full")

MT3 = ModelSpec(
    name="mt3",  # gin/mt3.gin
    spectrogram=SpectrogramSpec(),
    vocabulary=_MULTITRACK,
    network=NetworkSpec(vocabulary_size=1_536),
    segment_frames=256,
)

ISMIR2021 = ModelSpec(
    name="ismir2021",  # gin/ismir2021.gin: piano only, with velocities, without ties
    spectrogram=SpectrogramSpec(),
    vocabulary=VocabularySpec(velocity_bins=127, uses_ties=False, program_granularity="flat"),
    network=NetworkSpec(vocabulary_size=1_664),
    segment_frames=512,
)

ISMIR2022_SMALL = ModelSpec(
    name="ismir2022_small",  # gin/ismir2022/small.gin, pretrain.gin
    spectrogram=SpectrogramSpec(),
    vocabulary=_MULTITRACK,
    network=NetworkSpec(vocabulary_size=1_536),
    segment_frames=256,
)

ISMIR2022_BASE = ModelSpec(
    name="ismir2022_base",  # gin/ismir2022/base.gin, pretrain.gin
    spectrogram=SpectrogramSpec(),
    vocabulary=_MULTITRACK,
    network=NetworkSpec(
        vocabulary_size=1_536,
        width=768,
        heads=12,
        mlp_width=2_048,
        encoder_layers=12,
        decoder_layers=12,
    ),
    segment_frames=256,
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {spec.name: spec for spec in (MT3, ISMIR2021, ISMIR2022_SMALL, ISMIR2022_BASE)}
)
"""The published models by name."""
