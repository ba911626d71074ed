"""Encoding on a CPU in bfloat16: samples of segments to where their keys and values are kept.

Two ways, because processors differ. XLA's program has all cores work on each product of a batch; a
program of our own (`kernels/encoder.py`) has each core work on a segment alone, which saves
the half of XLA's time that is not products. With AMX, whose instructions our program does not use,
XLA multiplies much faster, and its way is taken.
"""

import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt16

from mt3_model.cpu.packed_network import PackedNetwork
from mt3_model.cpu.processor import AMX_FEATURE
from mt3_model.generation.precision import stored_parameters
from mt3_model.generation.steps import Parameters, Steps
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel


class Encoder(Protocol):
    """Encodes some segments together."""

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[UInt16[np.ndarray, "layers 2 H T K"]],
    ) -> None:
        """Writes the cross-attention keys and values of the first segments.

        Args:
            samples: Of a whole batch; a short one is padded.
            frames: True frames of each.
            into: One array for each segment that is wanted.
        """
        ...


class KernelEncoder:
    """Each core a segment."""

    def __init__(
        self,
        spec: ModelSpec,
        network: PackedNetwork,
        threads: concurrent.futures.Executor,
    ) -> None:
        """Compiles nothing yet.

        Args:
            spec: The model.
            network: Its parameters.
            threads: One for each core.
        """
        self._logmel = jax.jit(functools.partial(compute_logmel, spec=spec.spectrogram))
        self._network = network
        self._threads = threads

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[UInt16[np.ndarray, "layers 2 H T K"]],
    ) -> None:
        """Writes the keys and values of the first segments."""
        with jax.default_matmul_precision("highest"):
            # A copy, because the programs take only arrays that may be written.
            logmel = np.array(self._logmel(samples, frames))
        pairs = zip(logmel, into, strict=False)
        wait_for([self._threads.submit(self._network.encode, *pair) for pair in pairs])


class XlaEncoder:
    """All cores together."""

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        """Puts the parameters of encoding where XLA has them.

        Args:
            spec: The model.
            parameters: Its parameter tree, arrays of the host in float32.
        """
        self._steps = Steps(spec=spec, precision="bfloat16", devices=(jax.local_devices()[0],))
        self._parameters = jax.device_put(
            stored_parameters(_of_encoding(parameters, spec), "bfloat16"), self._steps.everywhere
        )

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[UInt16[np.ndarray, "layers 2 H T K"]],
    ) -> None:
        """Writes the keys and values of the first segments."""
        encoded = self._steps.encode(
            self._parameters, *jax.device_put((samples, frames), self._steps.by_rows)
        )
        for layer, its in enumerate(encoded):
            for kind, array in enumerate((its.keys, its.values)):
                bits = np.asarray(array).view(np.uint16)  # [B, H, T, K]
                for number, segment in enumerate(into):
                    segment[layer, kind] = bits[number]


def xla_encodes_faster(features: frozenset[str]) -> bool:
    """Whether XLA's products are so much faster than ours that its encoding is.

    Decided by the processor and not by a clock: the two ways differ in the last bits.

    Args:
        features: The processor's (`processor.processor_features`).
    """
    return AMX_FEATURE in features


def wait_for(calls: "Sequence[concurrent.futures.Future[None]]") -> None:
    """Returns when all have ended, and raises what one of them raised."""
    concurrent.futures.wait(calls)
    for call in calls:
        call.result()


def _of_encoding(parameters: Parameters, spec: ModelSpec) -> Parameters:
    """The parameters that encoding reads: the rest is packed, and need not lie here twice."""

    def of_layer(layer: Parameters) -> Parameters:
        attention = layer["encoder_decoder_attention"]
        return {"encoder_decoder_attention": {name: attention[name] for name in ("key", "value")}}

    names = [f"layers_{number}" for number in range(spec.network.decoder_layers)]
    decoder = {name: of_layer(parameters["decoder"][name]) for name in names}
    return {"encoder": parameters["encoder"], "decoder": decoder}
