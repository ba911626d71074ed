"""The specs of the published models: sizes of front end, vocabulary, network and segments.

A spec is not a setting: a changed number describes a different model. The numbers come from the gin
files of magenta/mt3 fa04532 and the code they configure; each line names its source. This module
imports no other module of the package, so every module may import it.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

ProgramGranularity = Literal["flat", "midi_class", "full"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpectrogramSpec:
    """The sizes of the front end. Source: magenta/mt3 spectrograms.py:24-33, spectral_ops.py:73."""

    sample_rate: int = 16_000
    """Hz (DEFAULT_SAMPLE_RATE)."""
    hop_width: int = 128
    """Samples between frames: 8 ms (DEFAULT_HOP_WIDTH)."""
    fft_size: int = 2_048
    """Samples of one Hann window and of its transform (FFT_SIZE)."""
    mel_bins: int = 512
    """F, the number of mel bins (DEFAULT_NUM_MEL_BINS)."""

    @property
    def frames_per_second(self) -> float:
        """The number of frames per second: 125.0 for the published models."""
        return self.sample_rate / self.hop_width


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VocabularySpec:
    """The events of a model. Source: magenta/mt3 vocabularies.py:30-140."""

    steps_per_second: int = 100
    """Symbolic steps per second: one step is 10 ms (DEFAULT_STEPS_PER_SECOND)."""
    max_shift_steps: int = 1_000
    """The longest shift of one event in steps: 10 s (DEFAULT_MAX_SHIFT_SECONDS)."""
    velocity_bins: int
    """The number of bins above zero; bin 0 always means note-off (NUM_VELOCITY_BINS)."""
    uses_ties: bool
    """Whether segments begin with a tie section (USE_TIES)."""
    program_granularity: ProgramGranularity
    """The resolution of programs (PROGRAM_GRANULARITY)."""
    extra_tokens: int = 100
    """The number of unused tokens at the end (DEFAULT_NUM_EXTRA_IDS)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """The T5.1.1 network's sizes. Source: magenta/mt3 gin/model.gin, gin/ismir2022/base.gin."""

    width: int = 512
    """D, the model width (emb_dim)."""
    heads: int = 6
    """H, the number of attention heads (num_heads)."""
    head_width: int = 64
    """K, the width of an attention head (head_dim)."""
    mlp_width: int = 1_024
    """The hidden width of the gated MLP (mlp_dim)."""
    encoder_layers: int = 8
    decoder_layers: int = 8
    vocabulary_size: int
    """V, the rows of the embedding: tokens rounded up to a multiple of 128 (num_embeddings)."""
    input_width: int = 512
    """The mel bins of an encoder input frame (input_depth)."""
    max_positions: int = 2_048
    """The rows of the fixed position table (FixedEmbed.max_length)."""
    norm_epsilon: float = 1e-6
    """Added to the mean square before the root (LayerNorm.epsilon)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """The spec of one published model."""

    name: str
    spectrogram: SpectrogramSpec
    vocabulary: VocabularySpec
    network: NetworkSpec
    segment_frames: int
    """T, the frames of one segment (TASK_FEATURE_LENGTHS['inputs'])."""
    max_tokens: int = 1_024
    """L, the maximum number of tokens generated for one segment
    (TASK_FEATURE_LENGTHS['targets'])."""

    @property
    def segment_samples(self) -> int:
        """The samples of one segment, T * hop width: 32,768 for MT3."""
        return self.segment_frames * self.spectrogram.hop_width

    @property
    def segment_seconds(self) -> float:
        """The length of one segment in seconds: 2.048 for MT3."""
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
