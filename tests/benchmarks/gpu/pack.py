"""Pack weights, clips and the CPU's tokens for a machine that has none of them.

    python -m tests.benchmarks.gpu.pack CHECKPOINT OUT_DIR [--recordings NAME.flac[:dense] ...]

Run it where the audio libraries and the checkpoint are; it uses the CPU backend. By default the
recordings are the files of `RECORDINGS` in `MT3_SHARED`. Its output is ignored by git.
"""

import argparse
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from mt3_model.audio.isolation import open_recording
from mt3_model.checkpoint.loading import load_checkpoint
from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.network.transformer import Transformer
from mt3_model.spec import MT3, ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel
from tests.benchmarks.gpu.environment import describe_environment
from tests.benchmarks.gpu.material import (
    FULL_SCALE,
    Clip,
    Expected,
    round_parameters,
    write_clips,
    write_manifest,
    write_parameters,
)
from tests.benchmarks.gpu.pools import columns_for, open_pool

RECORDINGS = (
    "golden/band.flac:dense",
    "golden/dense.flac",
    "golden/mixed.flac",
    "golden/odd.flac",
    "golden/piano.flac",
    "eval/dev/dev07_rock_band.ogg:dense",
    "eval/dev/dev08_pop_band.ogg:dense",
    "eval/dev/dev10_small_orchestra_schubert.ogg",
)
"""Paths under `MT3_SHARED`. The bands are as dense as popular songs; `dense.flac` is denser than
real music, and included for its long segments."""
RIVALS = 4
"""Recorded alternatives to each token: a flip to any other token is no near-tie."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--recordings", nargs="+", help="paths, ':dense' after those of the hour")
    chosen = parser.parse_args(arguments)
    shared = pathlib.Path(os.environ.get("MT3_SHARED", "."))
    names = chosen.recordings or [str(shared / name) for name in RECORDINGS]

    checkpoint = load_checkpoint(chosen.checkpoint, MT3)
    parameters = round_parameters(checkpoint.parameters)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (chosen.folder / ".gitignore").write_text("*\n")  # parameters never enter the repository
    write_parameters(parameters, chosen.folder)
    on_device = jax.device_put(parameters)
    pool = open_pool(MT3, on_device, SlotShapes(rows=(16,)), "float32")
    clips: list[Clip] = []
    for name in names:
        path = pathlib.Path(name.removesuffix(":dense"))
        clip = Clip(
            name=path.stem,
            samples=read_samples(path, MT3),
            dense=name.endswith(":dense"),
            expected=(),
        )
        clips.append(dataclasses.replace(clip, expected=expect(pool, on_device, clip)))
        print(f"{clip.name}: {[len(row.tokens) for row in clips[-1].expected]} tokens", flush=True)
    write_clips(clips, chosen.folder)
    origin = {"checkpoint_sha256": checkpoint.sha256, "made_on": describe_environment()}
    write_manifest(chosen.folder, origin)
    lengths = describe_lengths(clips, MT3, checkpoint.sha256)
    (chosen.folder / "recorded_lengths.json").write_text(json.dumps(lengths, indent=1) + "\n")


def read_samples(path: pathlib.Path, spec: ModelSpec) -> np.ndarray:
    """Read a recording as int16 at the spec's rate, mono."""
    with open_recording(path, sample_rate=spec.spectrogram.sample_rate) as source:
        samples = np.concatenate(list(source.blocks()))
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(samples * FULL_SCALE), limits.min, limits.max).astype(np.int16)


def expect(pool: SlotPool, parameters: Any, clip: Clip) -> tuple[Expected, ...]:
    """Generate the CPU's greedy tokens of a clip in float32, with the rivals of each."""
    return tuple(
        _with_rivals(pool.spec, parameters, segment.samples, segment.frames, generated.tokens)
        for segment, generated in generate(pool, clip.segments(pool.spec), "greedy")
    )


def describe_lengths(clips: Sequence[Clip], spec: ModelSpec, sha256: str) -> dict[str, Any]:
    """Return the number of tokens of each full segment of the dense clips, with their source."""
    return {
        "what": "tokens per full segment, end token included; greedy, float32 on a CPU, weights"
        " rounded to bfloat16; by `python -m tests.benchmarks.gpu.pack`",
        "checkpoint_sha256": sha256,
        "recordings": {
            clip.name: [
                len(row.tokens)
                for segment, row in zip(clip.segments(spec), clip.expected, strict=True)
                if segment.frames == spec.segment_frames
            ]
            for clip in clips
            if clip.dense
        },
    }


def _with_rivals(
    spec: ModelSpec, parameters: Any, samples: np.ndarray, frames: int, tokens: np.ndarray
) -> Expected:
    """Add the rivals of each token, from one pass over the known tokens."""
    padded = np.zeros(columns_for(len(tokens), spec), np.int32)
    padded[: len(tokens)] = tokens
    logits = np.array(_logits(spec, parameters, samples[None], frames, padded[None]))[0]
    logits = logits[: len(tokens)]
    steps = np.arange(len(tokens))
    chosen = logits[steps, tokens].copy()
    logits[steps, tokens] = -np.inf
    rivals = np.argsort(-logits, axis=1, kind="stable")[:, :RIVALS]
    gaps = chosen[:, None] - np.take_along_axis(logits, rivals, axis=1)
    return Expected(tokens=tokens, rivals=rivals.astype(np.int32), gaps=gaps.astype(np.float32))


def _logits_of(
    spec: ModelSpec, parameters: Any, samples: jax.Array, frames: int, tokens: jax.Array
) -> jax.Array:
    logmel = compute_logmel(samples, jnp.full(1, frames, jnp.int32), spec.spectrogram)
    return Transformer(spec.network).apply({"params": parameters}, logmel, tokens)


_logits = jax.jit(_logits_of, static_argnums=0)


if __name__ == "__main__":
    main()
