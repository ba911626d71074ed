"""Small models and their checkpoints, drawn at random in the true layout."""

import dataclasses

import numpy as np

from mt3_model.network.params import parameter_shapes
from mt3_model.spec import MT3, ModelSpec, NetworkSpec

TINY_NETWORK = NetworkSpec(
    vocabulary_size=24,
    width=8,
    heads=2,
    head_width=3,
    mlp_width=10,
    encoder_layers=2,
    decoder_layers=1,
    input_width=5,
)
TINY = dataclasses.replace(MT3, name="tiny", network=TINY_NETWORK)


def draw_arrays(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Every parameter of a spec, standard normal."""
    random = np.random.default_rng(seed)
    return {
        path: random.standard_normal(shape, dtype=np.float32)
        for path, shape in parameter_shapes(spec.network).items()
    }
