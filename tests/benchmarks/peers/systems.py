"""The systems: which are measured and how each is started, and whose figures are only read."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mt3_model.checkpoint.loading import convert_checkpoint
from mt3_model.checkpoint.locating import find_checkpoint
from mt3_model.spec import MT3
from tests.benchmarks.peers import setup
from tests.benchmarks.peers.rounds import OURS
from tests.benchmarks.peers.runner_process import Command

_PACKAGE = "tests.benchmarks.peers"
_FRONT_END = setup.ROOT / "mt3_model" / "spectrogram" / "front_end.npz"
_CHECKPOINTS = setup.FOLDER / "checkpoints"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line chose."""

    checkpoint: Path | None
    precision: str
    threads: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """One that is measured."""

    environment: str | None
    """A name of `setup.ENVIRONMENTS`; None for the project's own."""
    module: str
    arguments: Callable[[Choices], list[str | Path]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadFigure:
    """A system that cannot be run from a package registry, and what was read or measured before."""

    system: str
    why: str
    figure: str


READ_FIGURES = (
    ReadFigure(
        system="magenta/mt3 (T5X)",
        why="T5X is on no package registry",
        figure="0.7x real time, 2.0 GB",
    ),
    ReadFigure(
        system="kunato/mt3-pytorch",
        why="on no package registry, no licence",
        figure="1.6x real time (178 s of audio in 110 s, two threads)",
    ),
    ReadFigure(
        system="CrispASR mt3 (C++/ggml)",
        why="built from source",
        figure="4.1x real time with ggml rebuilt for the CPU, about 0.9x as shipped",
    ),
    ReadFigure(
        system="MuScriptor",
        why="weights behind a login, non-commercial",
        figure="103M to 1.4B parameters, 5 s chunks; no time known on such a machine",
    ),
    ReadFigure(system="YourMT3+", why="a demo, no service", figure="none"),
)
"""Read, not measured by this benchmark: 2 cores of a Xeon with AMX, 24 GiB, 20 November 2026. Their
machine is another than the one a run of this benchmark is made on: no ratio is made of them."""


def _mt3_infer(log_mel: str) -> System:
    return System(
        environment="mt3-infer",
        module=f"{_PACKAGE}.run_mt3_infer",
        arguments=lambda choices: [
            *("--checkpoint", prepare_mt3_infer_checkpoint(choices.checkpoint)),
            *("--front-end", _FRONT_END),
            *("--log-mel", log_mel),
        ],
    )


def _our_arguments(choices: Choices) -> list[str | Path]:
    return [
        *("--checkpoint", find_checkpoint_of(choices.checkpoint)),
        *("--precision", choices.precision),
    ]


SYSTEMS = {
    OURS: System(environment=None, module=f"{_PACKAGE}.run_ours", arguments=_our_arguments),
    "mt3-infer": _mt3_infer("mended"),
    "mt3-infer-shipped": _mt3_infer("shipped"),
    "basic-pitch": System(
        environment="basic-pitch", module=f"{_PACKAGE}.run_basic_pitch", arguments=lambda _: []
    ),
}
"""The systems in the order of a round."""


def make_command(name: str, choices: Choices) -> Command:
    """Return the command that starts a system on the chosen number of CPU threads."""
    system = SYSTEMS[name]
    python = sys.executable if system.environment is None else setup.python_of(system.environment)
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"),
        str(choices.threads),
    )
    return Command(
        arguments=[python, "-m", system.module, *system.arguments(choices)],
        folder=setup.ROOT,
        environment={
            **threads,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",  # no downloads while time is measured
        },
        cores=_first_cores(choices.threads),
    )


def _first_cores(threads: int) -> frozenset[int] | None:
    """Return cores for the threads, of those this process may use; None without affinity."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return frozenset(sorted(os.sched_getaffinity(0))[:threads])


def find_checkpoint_of(checkpoint: Path | None) -> Path:
    """Return the given checkpoint, or the one that the library finds."""
    return find_checkpoint(MT3.name, explicit=checkpoint, repository_folder=setup.ROOT)


def prepare_mt3_infer_checkpoint(checkpoint: Path | None) -> Path:
    """Convert our parameters for mt3-infer, once for each checkpoint.

    Two steps, because no environment has the libraries of both ends: T5X to safetensors in ours,
    safetensors to torch in mt3-infer's.
    """
    converted = _CHECKPOINTS / f"{MT3.name}.safetensors"
    written = convert_checkpoint(find_checkpoint_of(checkpoint), converted, MT3)
    folder = _CHECKPOINTS / f"mt3-infer-{written.sha256[:16]}"
    if not (folder / "mt3.pth").is_file():
        module = f"{_PACKAGE}.mt3_infer_checkpoint"
        python = setup.python_of("mt3-infer")
        subprocess.run([python, "-m", module, converted, folder], cwd=setup.ROOT, check=True)
    return folder
