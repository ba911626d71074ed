"""How fast one recording is transcribed, warm, and how much memory that takes; as JSON.

    python -m tests.benchmarks.song RECORDING [--seconds 178] [--runs 3] [--decoding greedy]

The recording is repeated until it is ``--seconds`` long, so that figures for songs and for hours
come from the same material. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import tempfile
import time
from importlib import metadata

import jax
import soundfile

from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.transcribe import load_transcriber


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=178.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--decoding", choices=("greedy", "reference"), default="greedy")
    arguments = parser.parse_args()
    checkpoint = os.environ.get("MT3_CHECKPOINT")

    began = time.perf_counter()
    transcriber = load_transcriber(checkpoint=pathlib.Path(checkpoint) if checkpoint else None)
    loaded = time.perf_counter()
    transcriber.pool.warm_up()
    warm = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        song = repeat(arguments.recording, arguments.seconds, pathlib.Path(folder) / "song.flac")
        runs = [run(transcriber, song, arguments.decoding) for _ in range(arguments.runs)]
    median = statistics.median(r["seconds"] for r in runs)
    print(
        json.dumps(
            {
                "recording": arguments.recording.name,
                "audio_seconds": arguments.seconds,
                "decoding": arguments.decoding,
                "load_seconds": round(loaded - began, 2),
                "warm_up_seconds": round(warm - loaded, 2),
                "runs": runs,
                "times_real_time": round(arguments.seconds / median, 2),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024,
                "checkpoint_sha256": transcriber.model.checkpoint_sha256,
                "device": str(jax.devices()[0]),
                "processor": processor(),
                "cores": os.cpu_count(),
                "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
            },
            indent=1,
        )
    )


def repeat(recording, seconds, target):
    """Writes the recording again and again, mono, until it is long enough."""
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    with soundfile.SoundFile(target, "w", rate, 1) as file:
        missing = round(seconds * rate)
        while missing > 0:
            file.write(mono[:missing])
            missing -= len(mono)
    return target


def run(transcriber, song, decoding):
    """One transcription: seconds in all, seconds to the first segment's notes, and counts."""
    firsts = []
    began = time.perf_counter()
    result = transcriber.transcribe(
        song,
        TranscriptionOptions(decoding=decoding),
        progress=lambda *_: firsts.append(time.perf_counter() - began),
    )
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "first_segment_seconds": round(firsts[0], 2),
        "segments": result.usage.segments,
        "tokens": result.usage.tokens,
        "notes": len(result.notes.notes),
    }


def processor():
    """The processor's name as the system gives it."""
    information = pathlib.Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
