"""Encoding on a CPU in bfloat16: samples of segments to where their keys and values are kept.

Two ways, because processors differ. XLA's program has all cores work on each product of a batch; a
program of our own (`network/kernels/encoder.py`) has each core work on a segment alone, which saves
the half of XLA's time that is not products. Where XLA multiplies much faster, as with AMX, whose
instructions our program does not use, its way is the faster one: the rates of both are measured.
"""

import concurrent.futures
import functools
import time
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt16

from mt3_model.generation.precision import PRODUCT_SHAPE, product_seconds, stored_parameters
from mt3_model.generation.steps import Parameters, Steps
from mt3_model.network.kernels.measuring import multiply_repeatedly
from mt3_model.network.packed_network import PackedNetwork
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel

XLA_FROM = 1.5
"""Times as fast that XLA's products must be for its encoding to be faster. Of its 47 ms a segment
29 are products here, of our 34 ms 26 (deploy/decisions/0007): were XLA's products 1.5 times as fast
as ours, it would take 35."""
_TIMES, _TRIALS = 4, 5


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


def xla_encodes_faster(cores: int) -> bool:
    """Whether XLA multiplies so much faster than our programs that it is worth its ways."""
    rows, inputs, outputs = PRODUCT_SHAPE
    seconds = product_seconds("bfloat16")["bfloat16"]
    xla = 2 * rows * inputs * outputs / seconds
    return xla > XLA_FROM * kernel_flops_per_second(rows, inputs, outputs, cores)


def kernel_flops_per_second(rows: int, inputs: int, outputs: int, cores: int) -> float:
    """The rate of our programs' products on all cores together.

    Args:
        rows: Of all cores.
        inputs: I of the kernel, even.
        outputs: O of the kernel, a multiple of 32.
        cores: That multiply; each has an equal part of the rows.
    """
    random = np.random.default_rng(0)
    its_rows = max(rows // cores, 1)
    numbers = random.standard_normal((its_rows + outputs, inputs), np.float32)
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    kernel = np.ascontiguousarray(bits[its_rows:]).ravel()
    arguments = [
        (bits[:its_rows].copy(), kernel, outputs, np.empty((its_rows, outputs), np.float32), _TIMES)
        for _ in range(cores)
    ]
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(cores) as threads:
        for _ in range(_TRIALS):
            began = time.perf_counter()
            wait_for([threads.submit(multiply_repeatedly, *its) for its in arguments])
            best = min(best, time.perf_counter() - began)
    return _TIMES * cores * 2 * its_rows * inputs * outputs / best


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
