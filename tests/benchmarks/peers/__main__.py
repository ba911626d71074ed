"""Compare this project with its peers: interleaved rounds, ratios of times, quality of notes.

    python -m tests.benchmarks.peers RECORDING... [--rounds 3] [--seconds N] [--systems ours,...]
        [--device cuda] [--python mt3-infer=PATH]

Every system runs in a process and an environment of its own (`setup.py`; add ``--setup`` to build
them), is loaded once, transcribes a few seconds untimed, and then runs once in every round. Run it
on an idle machine. mt3-infer needs minutes for a minute of music: give it short
recordings. A machine without package registries cannot build environments: name the interpreter of
each with ``--python``.
"""

import argparse
import contextlib
import datetime
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.peers import report, setup
from tests.benchmarks.peers.quality import find_reference, judge, read_reference
from tests.benchmarks.peers.recordings import fit_recording, seconds_of
from tests.benchmarks.peers.rounds import Timings, time_rounds
from tests.benchmarks.peers.runner_process import Runner, RunnerError
from tests.benchmarks.peers.systems import (
    DEVICES,
    READ_FIGURES,
    SYSTEMS,
    Choices,
    make_command,
)


def main():
    arguments = parse_arguments()
    names = arguments.systems
    pythons = dict(arguments.python)
    environments = {SYSTEMS[name].environment for name in names} - {None}
    for environment in sorted(environments - pythons.keys()):
        if arguments.setup:
            setup.build(environment)
        elif not setup.is_built(environment):
            raise SystemExit(
                f"{environment} is not set up: add --setup or --python, or leave it out"
            )
    choices = Choices(
        checkpoint=arguments.checkpoint,
        precision=arguments.precision,
        threads=arguments.threads,
        device=arguments.device,
        pythons=pythons,
    )
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners, failures = start(names, choices, arguments, work, stack)
        document = {
            "command": shown_command(sys.argv[1:]),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": report.describe_machine(arguments.threads),
            "versions": {name: runner.versions for name, runner in runners.items()},
            "details": {name: runner.details for name, runner in runners.items()},
            "rounds": arguments.rounds,
            "recordings": [
                measure(recording, runners, failures, arguments, work)
                for recording in arguments.recordings
            ],
            "read_not_measured": [
                {"system": entry.system, "figure": entry.figure, "why": entry.why}
                for entry in READ_FIGURES
            ],
        }
    print(f"\n{report.read_figures_table()}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="cut or repeat each recording to this length")
    parser.add_argument(
        "--systems", type=system_names, default=list(SYSTEMS), help=",".join(SYSTEMS)
    )
    parser.add_argument(
        "--references", type=Path, help="folder of MIDI files; by default the recording's own"
    )
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--setup", action="store_true", help="build missing environments first")
    parser.add_argument("--threads", type=int, default=2, help="of every system")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="of every system; basic-pitch has the CPU"
    )
    parser.add_argument(
        "--python",
        type=environment_python,
        action="append",
        default=[],
        metavar="ENVIRONMENT=PATH",
        help=f"interpreter that has the packages of {' or '.join(setup.ENVIRONMENTS)}",
    )
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of ours"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=os.environ.get("MT3_CHECKPOINT"), help="of mt3"
    )
    parser.add_argument("--warm-up-seconds", type=float, default=2.0)
    parser.add_argument("--timeout-seconds", type=float, default=3_600.0)
    return parser.parse_args()


def system_names(text):
    """Parse ``a,b`` to the systems in the order of a round."""
    asked = text.split(",")
    if unknown := set(asked) - set(SYSTEMS):
        raise argparse.ArgumentTypeError(f"no such system: {', '.join(sorted(unknown))}")
    return [name for name in SYSTEMS if name in asked]


def environment_python(text):
    """Parse ``mt3-infer=PATH`` to the environment and its interpreter's absolute path."""
    environment, _, program = text.partition("=")
    if environment not in setup.ENVIRONMENTS:
        raise argparse.ArgumentTypeError(
            f"{environment!r} is no environment; expected {' or '.join(setup.ENVIRONMENTS)}"
        )
    found = shutil.which(program)
    if found is None:
        raise argparse.ArgumentTypeError(f"{program!r} is no program; give a Python interpreter")
    return environment, Path(found).absolute()


def start(names, choices, arguments, work, stack):
    """Load every system in turn, and let each transcribe some seconds untimed."""
    warm_up = fit_recording(arguments.recordings[0], arguments.warm_up_seconds, work / "warm.flac")
    runners, failures = {}, {}
    for name in names:
        try:
            command = make_command(name, choices)
            runner = Runner(name, command, timeout_seconds=arguments.timeout_seconds)
            stack.callback(runner.close)
            runner.transcribe(warm_up, work / f"{name}.mid")
        except RunnerError as error:
            failures[name] = str(error)
            show(failures[name])
        else:
            runners[name] = runner
            show(f"{name} is warm on {device_of(runner)}; ready after {runner.load_seconds:.1f} s")
    return runners, failures


def measure(recording, runners, failures, arguments, work):
    """Run all rounds of one recording, print its table and return its part of the JSON."""
    recorded_seconds = seconds_of(recording)
    seconds = arguments.seconds or recorded_seconds
    audio = recording.resolve()
    if seconds != recorded_seconds:
        audio = fit_recording(recording, seconds, work / "recording.flac")
    midi = find_reference(recording, arguments.references)
    reference = None if midi is None else read_reference(midi, recorded_seconds, seconds)

    def midi_of(name):
        return work / f"{name}.mid"

    alive = {name: runner for name, runner in runners.items() if name not in failures}
    timings = time_rounds(alive, audio, arguments.rounds, midi_of, show)
    failures |= {name: timing.failure for name, timing in timings.items() if timing.failure}
    measurements = {
        name: report.Measurement(
            timings=timings.get(name, Timings(failure=failures.get(name))),
            quality=(
                judge(midi_of(name), reference)
                if name in timings and timings[name].seconds
                else None
            ),
            device=device_of(runners[name]) if name in runners else None,
            load_seconds=runners[name].load_seconds if name in runners else None,
            peak_megabytes=runners[name].peak_megabytes() if name in runners else None,
        )
        for name in arguments.systems
    }
    rows = report.rows_of(measurements, seconds)
    print(f"\n{recording.name}, {seconds:.1f} s, {arguments.rounds} rounds")
    print(report.to_table(rows), flush=True)
    return {
        "recording": recording.name,
        "audio_seconds": seconds,
        "reference": midi and midi.name,
        "systems": rows,
    }


def device_of(runner):
    """Return the device that a system says it uses."""
    return runner.details.get("device", "an unknown device")


def shown_command(words):
    """Return the command line for the report, with file names instead of paths."""
    return shlex.join(["python", "-m", __package__, *map(shown_word, words)])


def shown_word(word):
    """Return the word, its path cut to the file's name: ``mt3-infer=/a/python`` -> its name."""
    before, equals, path = word.rpartition("=")
    return f"{before}{equals}{Path(path).name}" if Path(path).exists() else word


def show(text):
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
