"""The systems that are measured, with the way to start each, and those whose published figures are
shown."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from mt3_model.checkpoint.loading import convert_checkpoint
from mt3_model.checkpoint.locating import find_checkpoint
from mt3_model.spec import MT3
from tests.benchmarks.peers import setup
from tests.benchmarks.peers.rounds import OURS
from tests.benchmarks.peers.runner_process import Command, RunnerError

_PACKAGE = "tests.benchmarks.peers"
_FRONT_END = setup.ROOT / "mt3_model" / "spectrogram" / "front_end.npz"
_CHECKPOINTS = setup.FOLDER / "checkpoints"
_DEVICE_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "cpu": {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
    "cuda": {"JAX_PLATFORMS": "cuda,cpu"},  # JAX fails where it cannot open the first
}
DEVICES = tuple(_DEVICE_VARIABLES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """The choices of the command line."""

    checkpoint: Path | None
    precision: str
    threads: int
    device: str = "cpu"
    """A name of `DEVICES`: the device of every system that can use it."""
    pythons: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    """Interpreters by environment, in place of those that `setup.py` builds."""

    def python_of(self, environment: str) -> Path:
        """Return the interpreter that runs an environment's systems."""
        return self.pythons.get(environment, setup.python_of(environment))


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """A system that is measured."""

    environment: str | None
    """A name of `setup.ENVIRONMENTS`; None for the project's own."""
    module: str
    arguments: Callable[[Choices], list[str | Path]]
    cpu_only: bool = False
    """Whether it stays on the CPU whatever the chosen device."""


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
            *("--checkpoint", prepare_mt3_infer_checkpoint(choices)),
            *("--front-end", _FRONT_END),
            *("--log-mel", log_mel),
            *("--device", choices.device),
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
        environment="basic-pitch",
        module=f"{_PACKAGE}.run_basic_pitch",
        arguments=lambda _: [],
        cpu_only=True,
    ),
}
"""The systems in the order of a round."""


def make_command(name: str, choices: Choices) -> Command:
    """Return the command that starts a system on the chosen device and number of CPU threads.

    Raises:
        RunnerError: The system's checkpoint cannot be prepared.
    """
    system = SYSTEMS[name]
    environment = system.environment
    python = sys.executable if environment is None else choices.python_of(environment)
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"),
        str(choices.threads),
    )
    return Command(
        arguments=[python, "-m", system.module, *system.arguments(choices)],
        folder=setup.ROOT,
        environment={
            **threads,
            **_DEVICE_VARIABLES["cpu" if system.cpu_only else choices.device],
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


def prepare_mt3_infer_checkpoint(choices: Choices) -> Path:
    """Convert our parameters for mt3-infer, once for each checkpoint.

    Two steps, because no environment has the libraries of both ends: T5X to safetensors in ours,
    safetensors to torch in mt3-infer's.

    Raises:
        RunnerError: The second step fails.
    """
    converted = _CHECKPOINTS / f"{MT3.name}.safetensors"
    written = convert_checkpoint(find_checkpoint_of(choices.checkpoint), converted, MT3)
    folder = _CHECKPOINTS / f"mt3-infer-{written.sha256[:16]}"
    if not (folder / "mt3.pth").is_file():
        convert_for_mt3_infer(choices.python_of("mt3-infer"), converted, folder)
    return folder


def convert_for_mt3_infer(python: Path, converted: Path, folder: Path) -> None:
    """Write mt3-infer's checkpoint folder from a safetensors file, with its interpreter.

    Raises:
        RunnerError: The interpreter fails; the message has its standard error.
    """
    command = [python, "-m", f"{_PACKAGE}.mt3_infer_checkpoint", converted, folder]
    done = subprocess.run(command, cwd=setup.ROOT, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RunnerError(f"mt3-infer's checkpoint was not converted:\n{done.stderr}")
