"""The instruction sets of this machine's processor, by LLVM's names."""

import os

AMX_FEATURE = "amx-bf16"
BFLOAT16_FEATURES = frozenset({"avx512bf16", AMX_FEATURE})
"""Instruction sets that multiply bfloat16."""
_NAMES = (
    (AMX_FEATURE, "AMX"),
    ("avx512bf16", "AVX-512 BF16"),
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
    ("neon", "NEON"),
)
"""Instruction sets that products use, the widest first."""


def processor_features() -> frozenset[str]:
    """Return the instruction sets that the operating system lets programs use.

    Empty if LLVM does not know. numba's own variables restrict them, so that a machine can be
    measured as if it were another: ``NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma``.
    """
    if (chosen := os.environ.get("NUMBA_CPU_FEATURES")) is not None:
        return frozenset(name[1:] for name in chosen.split(",") if name.startswith("+"))
    if os.environ.get("NUMBA_CPU_NAME") == "generic":
        return frozenset()
    # Imported only where it is used: accelerators need neither it nor numba, which installs it.
    import llvmlite.binding  # noqa: PLC0415

    try:
        found: dict[str, bool] = llvmlite.binding.get_host_cpu_features()  # pyright: ignore
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, has in found.items() if has)


def instruction_set(features: frozenset[str]) -> str:
    """Return the usual name of the widest instruction set among a processor's features."""
    return next((name for feature, name in _NAMES if feature in features), "baseline")
