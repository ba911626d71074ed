"""Map our parameter paths to the names of the same arrays in mt3-infer's network.

mt3-infer's network is kunato/mt3-pytorch's: Hugging Face's T5 blocks, a linear projection of the
log-mel, sinusoidal positions. `Linear` keeps its matrix `[output, input]`, T5X `[input, output]`:
kernels are transposed; embeddings and norms are not. The projection and the embedding each appear
twice, because the network shares them between itself and its stacks. The two buffers
`pos_emb.inv_freq` are in no checkpoint of ours; they come from the network itself.
Source: mt3_infer 0.2.0, models/mt3_pytorch/t5.py; Hugging Face transformers, modeling_t5.py.
"""

import re
from collections.abc import Mapping

import numpy as np

CONFIGURATION = {
    "model_type": "t5",
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1_024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "vocab_size": 1_536,
    "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-6,
    "dropout_rate": 0.1,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "is_encoder_decoder": True,
    "tie_word_embeddings": False,
    "use_cache": True,
}
"""`config.json`. Sizes: `mt3_model.spec.MT3`; dropout is without effect outside training."""

_ONCE: Mapping[str, tuple[str, ...]] = {
    "encoder/continuous_inputs_projection/kernel": ("proj.weight", "encoder.embed_tokens.weight"),
    "encoder/encoder_norm/scale": ("encoder.final_layer_norm.weight",),
    "decoder/token_embedder/embedding": (
        "decoder_embed_tokens.weight",
        "decoder.embed_tokens.weight",
    ),
    "decoder/decoder_norm/scale": ("decoder.final_layer_norm.weight",),
    "decoder/logits_dense/kernel": ("lm_head.weight",),
}
_SUBLAYERS: Mapping[str, Mapping[str, str]] = {
    "encoder": {
        "pre_attention_layer_norm": "layer.0.layer_norm",
        "attention": "layer.0.SelfAttention",
        "pre_mlp_layer_norm": "layer.1.layer_norm",
        "mlp": "layer.1.DenseReluDense",
    },
    "decoder": {
        "pre_self_attention_layer_norm": "layer.0.layer_norm",
        "self_attention": "layer.0.SelfAttention",
        "pre_cross_attention_layer_norm": "layer.1.layer_norm",
        "encoder_decoder_attention": "layer.1.EncDecAttention",
        "pre_mlp_layer_norm": "layer.2.layer_norm",
        "mlp": "layer.2.DenseReluDense",
    },
}
_MATRICES = {"query": "q", "key": "k", "value": "v", "out": "o"}
"""Attention's matrices; those of the MLP have the same names on both sides."""
_LAYER = re.compile(r"(encoder|decoder)/layers_(\d+)/(\w+)/(?:(\w+)/)?(?:kernel|scale)")


def lay_out(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert flat arrays by our paths to arrays by mt3-infer's names and layout."""
    state: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        placed = array.T if path.endswith("/kernel") else array
        for name in names_of(path):
            state[name] = np.ascontiguousarray(placed)
    return state


def names_of(path: str) -> tuple[str, ...]:
    """Return mt3-infer's names of a path such as ``decoder/layers_3/mlp/wo/kernel``."""
    if path in _ONCE:
        return _ONCE[path]
    match = _LAYER.fullmatch(path)
    if match is None or match[3] not in _SUBLAYERS[match[1]]:
        raise ValueError(f"{path} is not a parameter of the MT3 network")
    stack, layer, sublayer, matrix = match.groups()
    name = f"{stack}.block.{layer}.{_SUBLAYERS[stack][sublayer]}"
    if matrix is not None:
        name += f".{_MATRICES.get(matrix, matrix)}"
    return (f"{name}.weight",)
