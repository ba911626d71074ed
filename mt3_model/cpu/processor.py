"""The instruction sets of this machine's processor, by LLVM's names."""

AMX_FEATURE = "amx-bf16"
BFLOAT16_FEATURES = frozenset({"avx512bf16", AMX_FEATURE})
"""Instruction sets that multiply bfloat16."""


def processor_features() -> frozenset[str]:
    """Return the instruction sets that the operating system lets programs use.

    Empty where LLVM cannot tell.
    """
    # Imported only where it is used: accelerators need neither it nor numba, which brings it.
    import llvmlite.binding  # noqa: PLC0415

    try:
        found: dict[str, bool] = llvmlite.binding.get_host_cpu_features()  # pyright: ignore
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, has in found.items() if has)
