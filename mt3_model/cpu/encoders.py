"""Encoding on a CPU: samples of segments to the keys and values that generation reads.

`KernelEncoder` runs `kernels/encoder.py`: each core encodes a segment alone, which saves the half
of XLA's time that is not spent on products. `xla_encoder.py` has the other implementation.
"""

import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np
from jaxtyping import Float32, Int32

from mt3_model.cpu.packed_network import PackedNetwork, Stored
from mt3_model.cpu.processor import AMX_FEATURE
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel


class Encoder(Protocol):
    """Encodes a batch of segments."""

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[Stored],
    ) -> None:
        """Write the cross-attention keys and values of the first segments.

        Args:
            samples: The samples of a whole batch, padded with zeros.
            frames: True frames of each segment.
            into: One array ``[layers, 2, H, T, K]`` for each segment of the batch that is real.
        """
        ...


class KernelEncoder:
    """Encodes with our program, one segment per core."""

    def __init__(
        self,
        spec: ModelSpec,
        network: PackedNetwork,
        threads: concurrent.futures.Executor,
    ) -> None:
        """Keep what encoding needs; nothing is compiled yet.

        Args:
            spec: The model.
            network: The model's packed parameters.
            threads: An executor with one thread for each core.
        """
        self._logmel = jax.jit(functools.partial(compute_logmel, spec=spec.spectrogram))
        self._network = network
        self._threads = threads

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[Stored],
    ) -> None:
        """Write the keys and values of the first segments."""
        with jax.default_matmul_precision("highest"):
            # A copy, because the programs take writable arrays only.
            logmel = np.array(self._logmel(samples, frames))
        pairs = zip(logmel, into, strict=False)
        wait_for([self._threads.submit(self._network.encode, *pair) for pair in pairs])


def xla_encodes_faster(features: frozenset[str]) -> bool:
    """Return whether XLA encodes faster in bfloat16 than our program.

    The processor decides, not a measurement: the two differ in the last bits.

    Args:
        features: The processor's instruction sets (`processor.processor_features`).
    """
    return AMX_FEATURE in features


def wait_for(calls: "Sequence[concurrent.futures.Future[None]]") -> None:
    """Wait for all calls; raise the first exception among them."""
    concurrent.futures.wait(calls)
    for call in calls:
        call.result()
