"""In which precision the products are computed, and which one suits this machine.

    float32    the original's: its tokens, exactly
    bfloat16   operands rounded to 8 bits of mantissa, summed in float32 (`network/layers.product`)
    auto       bfloat16 on accelerators, and on CPUs that have instructions for it; else float32

The choice is a function of the hardware and of nothing else: the two precisions give other notes at
near-ties, so two starts on one machine must not differ, whatever else the machine does meanwhile.
Of CPUs those with AVX-512 BF16 or AMX multiply bfloat16 faster. Others (AVX2, and ARM, whose
bfloat16 instructions our programs do not use) convert the operands and sum in float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mt3_model.notes.transcription import Precision, PrecisionChoice

AMX_FEATURE = "amx-bf16"
BFLOAT16_FEATURES = frozenset({"avx512bf16", AMX_FEATURE})
"""Instructions that multiply bfloat16, by LLVM's names."""


def choose_precision(choice: PrecisionChoice) -> Precision:
    """Resolve ``auto`` for the devices that JAX found."""
    if choice != "auto":
        return choice
    platform = jax.default_backend()
    return suitable_precision(platform, processor_features() if platform == "cpu" else frozenset())


def suitable_precision(platform: str, features: frozenset[str]) -> Precision:
    """Say what ``auto`` is.

    Args:
        platform: JAX's name of the devices' kind: ``cpu``, ``gpu``, ``tpu``.
        features: The processor's, as `processor_features` gives them; of interest on a CPU only.
    """
    is_fast = platform != "cpu" or bool(features & BFLOAT16_FEATURES)
    return "bfloat16" if is_fast else "float32"


def processor_features() -> frozenset[str]:
    """The instruction sets of this machine's processor that its system lets programs use.

    By LLVM's names; none where LLVM cannot tell.
    """
    # Imported only where it serves: accelerators need neither it nor numba, which brings it.
    import llvmlite.binding  # noqa: PLC0415

    try:
        found: dict[str, bool] = llvmlite.binding.get_host_cpu_features()  # pyright: ignore
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, has in found.items() if has)


def operand_dtype(precision: Precision) -> DTypeLike:
    """Of the operands of products."""
    return jnp.bfloat16 if precision == "bfloat16" else jnp.float32


def stored_parameters(parameters: Any, precision: Precision) -> Any:
    """The parameters as the products want them: kernels rounded once, norms and embedding not."""
    dtype = operand_dtype(precision)

    def store(path: tuple[Any, ...], array: Any) -> Any:
        return jnp.asarray(array, dtype) if path[-1].key == "kernel" else array

    return jax.tree_util.tree_map_with_path(store, parameters)
