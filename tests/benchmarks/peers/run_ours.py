"""Runner of this project: `load_transcriber` with a warm pool, in its own process."""

import argparse
from importlib import metadata
from pathlib import Path

import jax

from mt3_model.export.midi import to_midi
from mt3_model.transcribe import load_transcriber
from tests.benchmarks.peers.protocol import Loaded, serve


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    serve(lambda: load(arguments.checkpoint, arguments.precision))


def load(checkpoint, precision):
    transcriber = load_transcriber(checkpoint=checkpoint, precision=precision)
    transcriber.backend.warm_up()

    def transcribe(recording, midi):
        midi.write_bytes(to_midi(transcriber.transcribe(recording).notes))

    return Loaded(
        transcribe=transcribe,
        versions={
            name: metadata.version(name) for name in ("mt3-service", "jax", "jaxlib", "numpy")
        },
        details={
            "checkpoint_sha256": transcriber.model.checkpoint_sha256,
            "precision": transcriber.model.precision,
            "device": jax.devices()[0].device_kind,
        },
    )


if __name__ == "__main__":
    main()
