"""A model small enough to compute by brute force: two layers, eight frames, random parameters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mt3_model.network.transformer import Transformer
from mt3_model.spec import MT3
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.segments import Segment

TINY = dataclasses.replace(
    MT3,
    name="tiny",
    segment_frames=8,
    max_tokens=200,
    network=dataclasses.replace(
        MT3.network,
        width=16,
        heads=2,
        head_width=4,
        mlp_width=24,
        encoder_layers=2,
        decoder_layers=2,
        vocabulary_size=12,
    ),
)


def random_parameters(seed=0, spec=TINY):
    """Parameters large enough that tokens vary, with an end token that comes now and then."""
    network = Transformer(spec.network)
    logmel = jnp.zeros((1, spec.segment_frames, spec.spectrogram.mel_bins))
    tokens = jnp.zeros((1, 2), jnp.int32)
    # Shapes alone: to compute the initial values takes seconds, and only scales keep theirs, 1.
    shapes = jax.eval_shape(network.init, jax.random.key(seed), logmel, tokens)["params"]
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(random.standard_normal(leaf.shape).astype(np.float32) * 0.7)
            if leaf.ndim > 1
            else jnp.ones(leaf.shape)
        ),
        shapes,
    )


def random_segments(count, seed=0, spec=TINY):
    """Segments of noise; the last one short."""
    random = np.random.default_rng(seed)
    return [
        Segment(
            index=index,
            samples=random.standard_normal(spec.segment_samples).astype(np.float32),
            frames=spec.segment_frames if index < count - 1 else 3,
            start_time=0.0,
        )
        for index in range(count)
    ]


def by_brute_force(parameters, segment, spec=TINY):
    """Greedy tokens without any cache: the whole prefix through the network for every token."""
    logmel = compute_logmel(
        jnp.asarray(segment.samples)[None],
        jnp.array([segment.frames], jnp.int32),
        spec.spectrogram,
    )
    tokens: list[int] = []
    while len(tokens) < spec.max_tokens and 1 not in tokens:
        padded = jnp.array([(tokens + [0] * spec.max_tokens)[: spec.max_tokens]], jnp.int32)
        tokens.append(
            int(jnp.argmax(_logits(spec.network, parameters, logmel, padded)[0, len(tokens)]))
        )
    return tokens


@functools.partial(jax.jit, static_argnums=0)
def _logits(network, parameters, logmel, tokens):
    return Transformer(network).apply({"params": parameters}, logmel, tokens)
