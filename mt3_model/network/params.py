"""The parameter tree as a plain declaration: path -> shape, with the names of the T5X checkpoints.

Everything that must agree on the parameters reads this list: the network is checked against it,
a checkpoint is refused by it, and a test's stand-in checkpoint is drawn from it. It needs no JAX.
Kernels are `[input, output]`; those of attention keep heads and head width joined on one axis, as
T5X stores them (512, 384), not split (512, 6, 64). Every array is float32.
Source: magenta/mt3 fa04532, network.py and layers.py, and the published `mt3` checkpoint's index.
"""

from mt3_model.spec import NetworkSpec

Shape = tuple[int, ...]


def parameter_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """Lists every parameter of a network: ``decoder/layers_0/mlp/wi_0/kernel`` -> its shape.

    Args:
        network: The sizes; 189 arrays and 45,896,704 numbers for `MT3`.

    Returns:
        Paths in sorted order, each with its shape.
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
    """The gated GELU: ``wo(gelu(wi_0 x) * wi_1 x)``."""
    return {
        f"{prefix}/wi_0/kernel": (network.width, network.mlp_width),
        f"{prefix}/wi_1/kernel": (network.width, network.mlp_width),
        f"{prefix}/wo/kernel": (network.mlp_width, network.width),
    }
