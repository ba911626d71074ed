"""Encoding on a CPU by XLA's program, in which all cores share each product of a batch.

It serves processors with AMX, whose instructions our program (`encoders.py`) does not use.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float32, Int32

from mt3_model.cpu.packed_network import Stored
from mt3_model.generation.precision import stored_parameters
from mt3_model.generation.steps import Steps
from mt3_model.network.params import Parameters
from mt3_model.spec import ModelSpec


class XlaEncoder:
    """Encodes by XLA's program in bfloat16: all cores together."""

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        """Give XLA the parameters of encoding.

        Args:
            spec: The model.
            parameters: The model's parameter tree, arrays of the host in float32.
        """
        self._steps = Steps(spec=spec, precision="bfloat16", devices=(jax.local_devices()[0],))
        self._parameters = jax.device_put(
            stored_parameters(_encoding_parameters(parameters, spec), "bfloat16"),
            self._steps.everywhere,
        )

    def encode(
        self,
        samples: Float32[np.ndarray, "B N"],
        frames: Int32[np.ndarray, "B"],
        into: Sequence[Stored],
    ) -> None:
        """Write the keys and values of the first segments."""
        encoded = self._steps.encode(
            self._parameters, *jax.device_put((samples, frames), self._steps.by_rows)
        )
        for layer, kept in enumerate(encoded):
            for kind, array in enumerate((kept.keys, kept.values)):
                bits = np.asarray(array).view(np.uint16)  # [B, H, T, K]
                for number, segment in enumerate(into):
                    segment[layer, kind] = bits[number]


def _encoding_parameters(parameters: Parameters, spec: ModelSpec) -> Parameters:
    """Return the parameters that encoding reads; the rest is packed already."""

    def of_layer(layer: Parameters) -> Parameters:
        attention = layer["encoder_decoder_attention"]
        return {"encoder_decoder_attention": {name: attention[name] for name in ("key", "value")}}

    names = [f"layers_{number}" for number in range(spec.network.decoder_layers)]
    decoder = {name: of_layer(parameters["decoder"][name]) for name in names}
    return {"encoder": parameters["encoder"], "decoder": decoder}
