"""The parameters of the Flax network equal `parameter_shapes`, for every published model."""

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from mt3_model.network.params import parameter_shapes
from mt3_model.network.transformer import Transformer
from mt3_model.spec import MODELS


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_network_has_exactly_the_declared_parameters(name):
    spec = MODELS[name]
    logmel = jnp.zeros((1, spec.segment_frames, spec.spectrogram.mel_bins))
    tokens = jnp.zeros((1, 2), jnp.int32)
    network = Transformer(spec.network)
    tree = jax.eval_shape(network.init, jax.random.key(0), logmel, tokens)["params"]
    found = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(tree, sep="/").items()}
    assert found == parameter_shapes(spec.network)
