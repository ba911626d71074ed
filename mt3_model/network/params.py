"""The names and shapes of all parameters, as in T5X checkpoints.

Checkpoints are checked against this list, and tests compare the network with it and create random
checkpoints from it. It does not need JAX. Kernels have the shape ``[input, output]``. Attention
kernels have heads and head width joined on one axis, as T5X stores them (512, 384), not split
(512, 6, 64). All arrays are float32.
Source: magenta/mt3 fa04532, network.py and layers.py, and the published `mt3` checkpoint's index.
"""

from typing import Any

from mt3_model.spec import NetworkSpec

Shape = tuple[int, ...]

Parameters = Any
"""The network's parameter tree (nested dict of arrays), as T5X names it."""


def parameter_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """Return the shape of every parameter by path, such as ``decoder/layers_0/mlp/wi_0/kernel``.

    Args:
        network: The sizes of the network. `MT3` has 189 arrays with 45,896,704 numbers.

    Returns:
        Path -> shape, sorted by path.
    """
    shapes: dict[str, Shape] = {
        "encoder/continuous_inputs_projection/kernel": (network.input_width, network.width),
        "encoder/encoder_norm/scale": (network.width,),
        "decoder/token_embedder/embedding": (network.vocabulary_size, network.width),
        "decoder/decoder_norm/scale": (network.width,),
        "decoder/logits_dense/kernel": (network.width, network.vocabulary_size),
    }
    for layer in range(network.encoder_layers):
        shapes |= _encoder_layer_shapes(f"encoder/layers_{layer}", network)
    for layer in range(network.decoder_layers):
        shapes |= _decoder_layer_shapes(f"decoder/layers_{layer}", network)
    return dict(sorted(shapes.items()))


def _encoder_layer_shapes(prefix: str, network: NetworkSpec) -> dict[str, Shape]:
    return {
        f"{prefix}/pre_attention_layer_norm/scale": (network.width,),
        **_attention_shapes(f"{prefix}/attention", network),
        f"{prefix}/pre_mlp_layer_norm/scale": (network.width,),
        **_mlp_shapes(f"{prefix}/mlp", network),
    }


def _decoder_layer_shapes(prefix: str, network: NetworkSpec) -> dict[str, Shape]:
    return {
        f"{prefix}/pre_self_attention_layer_norm/scale": (network.width,),
        **_attention_shapes(f"{prefix}/self_attention", network),
        f"{prefix}/pre_cross_attention_layer_norm/scale": (network.width,),
        **_attention_shapes(f"{prefix}/encoder_decoder_attention", network),
        f"{prefix}/pre_mlp_layer_norm/scale": (network.width,),
        **_mlp_shapes(f"{prefix}/mlp", network),
    }


def _attention_shapes(prefix: str, network: NetworkSpec) -> dict[str, Shape]:
    joined = network.heads * network.head_width
    return {
        f"{prefix}/query/kernel": (network.width, joined),
        f"{prefix}/key/kernel": (network.width, joined),
        f"{prefix}/value/kernel": (network.width, joined),
        f"{prefix}/out/kernel": (joined, network.width),
    }


def _mlp_shapes(prefix: str, network: NetworkSpec) -> dict[str, Shape]:
    """Return the shapes of the gated MLP ``wo(gelu(wi_0 x) * wi_1 x)``."""
    return {
        f"{prefix}/wi_0/kernel": (network.width, network.mlp_width),
        f"{prefix}/wi_1/kernel": (network.width, network.mlp_width),
        f"{prefix}/wo/kernel": (network.mlp_width, network.width),
    }
