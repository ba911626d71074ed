"""Describe the hardware and software of a measurement."""

import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

import jax

import mt3_model.spec

PACKAGES = (
    "jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "numpy", "ml_dtypes",
    "nvidia-cublas", "nvidia-cudnn-cu13",
)  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Describe devices, driver, processor, versions, and a digest of the code."""
    return {
        "devices": [str(device) for device in jax.devices()],
        "device_kind": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "driver": _ask_driver(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "source_sha256": digest_sources(),
        "arguments": [without_folder(argument) for argument in sys.argv[1:]],
    }


def digest_sources() -> str:
    """Return a sha256 over the library's files: a copied tree may have no git history."""
    root = pathlib.Path(mt3_model.spec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def without_folder(argument: str) -> str:
    """Reduce a path to its name: folders of the machine do not belong in a result."""
    is_shapes = set(argument) <= set("0123456789/x")  # row buckets stand between slashes too
    return argument if is_shapes or "/" not in argument else pathlib.PurePath(argument).name


def memory_peak() -> int | None:
    """Return the peak bytes of the device's memory so far; None on a CPU."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def _ask_driver() -> str | None:
    """Return the GPU's name, driver and memory from ``nvidia-smi``; None without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    return answer.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name, as `service/benchmark/machine.py` does, without the service."""
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
