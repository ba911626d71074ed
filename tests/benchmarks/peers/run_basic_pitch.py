"""Runner of basic-pitch: its own `predict` with its ONNX model. Runs in its own environment.

It runs on the CPU: the pinned onnxruntime has no other provider.
"""

import argparse
from importlib import metadata

from basic_pitch import FilenameSuffix, build_icassp_2022_model_path
from basic_pitch.inference import Model, predict

from tests.benchmarks.peers.protocol import Loaded, serve


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    serve(load)


def load():
    path = build_icassp_2022_model_path(FilenameSuffix.onnx)
    model = Model(path)

    def transcribe(recording, midi):
        _, notes, _ = predict(recording, model)
        notes.write(str(midi))

    return Loaded(
        transcribe=transcribe,
        versions={
            name: metadata.version(name)
            for name in ("basic-pitch", "onnxruntime", "numpy", "librosa")
        },
        details={"model": path.name, "device": "cpu"},
    )


if __name__ == "__main__":
    main()
