"""What the figures were measured on: processor, device, libraries, memory."""

import dataclasses
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

from mt3_model.cpu.cores import usable_cores

VERSIONED = ("jax", "jaxlib", "flax", "numpy")
"""Libraries whose versions change figures."""
_PROCESSOR_FILE = Path("/proc/cpuinfo")
_STATUS_FILE = Path("/proc/self/status")
NO_DEVICE = "none (the fake backend)"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The hardware."""

    processor: str
    cores: int
    """Those that this process may use."""
    memory_bytes: int | None
    platform: str
    """As JAX names it: ``cpu``, ``gpu``, ``tpu``."""
    device: str
    """Its kind, as JAX names it."""
    devices: int


def describe_machine(*, with_device: bool) -> Machine:
    """Describes this machine.

    Args:
        with_device: Whether JAX is in use; else it is not imported and there is no device.
    """
    kind, name, count = "cpu", NO_DEVICE, 0
    if with_device:
        import jax  # noqa: PLC0415 (not for the fake backend)

        kind, name = jax.default_backend(), jax.devices()[0].device_kind
        count = jax.local_device_count()
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        platform=kind,
        device=name,
        devices=count,
    )


def versions() -> dict[str, str]:
    """Python's and the libraries' versions."""
    libraries = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version()} | libraries


def resident_peak_bytes() -> int:
    """Most memory that this process held at once.

    Linux's own count of the running program, where it is; what ``getrusage`` says there may be the
    peak of the program that started this one.
    """
    if _STATUS_FILE.is_file():
        for line in _STATUS_FILE.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1_024  # macOS counts in bytes


def device_peak_bytes() -> int | None:
    """Most memory of the device that was in use at once, where the device says it."""
    import jax  # noqa: PLC0415 (not for the fake backend)

    told = jax.devices()[0].memory_stats()
    return None if told is None else told.get("peak_bytes_in_use")


def _processor() -> str:
    """The processor's name as the system gives it."""
    if _PROCESSOR_FILE.is_file():
        for line in _PROCESSOR_FILE.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
