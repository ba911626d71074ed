"""Describe the machine of a measurement: processor, device, libraries, memory."""

import dataclasses
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

from mt3_model.cores import usable_cores

VERSIONED = ("jax", "jaxlib", "flax", "numpy")
"""Libraries whose versions change figures."""
_PROCESSOR_FILE = Path("/proc/cpuinfo")
_STATUS_FILE = Path("/proc/self/status")
NO_DEVICE = "none (the fake backend)"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Hardware that the figures were measured on."""

    processor: str
    cores: int
    """Cores that this process may use."""
    memory_bytes: int | None
    platform: str
    """JAX's name: ``cpu``, ``gpu``, ``tpu``."""
    device: str
    """Kind of the device, by JAX's name."""
    devices: int


def describe_machine(*, with_device: bool) -> Machine:
    """Describe this machine.

    Args:
        with_device: whether JAX is in use. Otherwise JAX is not imported and no device is named.
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
    """Return the versions of Python and of the libraries in `VERSIONED`."""
    libraries = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version()} | libraries


def resident_peak_bytes() -> int:
    """Return the peak memory of this process.

    On Linux from ``/proc``: ``getrusage`` may return the peak of the program that started this one.
    """
    if _STATUS_FILE.is_file():
        for line in _STATUS_FILE.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1_024  # macOS counts in bytes


def device_peak_bytes() -> int | None:
    """Return the peak memory of the device; None if the device does not report it."""
    import jax  # noqa: PLC0415 (not for the fake backend)

    statistics = jax.devices()[0].memory_stats()
    return None if statistics is None else statistics.get("peak_bytes_in_use")


def _processor() -> str:
    """Return the processor's name from the operating system."""
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
