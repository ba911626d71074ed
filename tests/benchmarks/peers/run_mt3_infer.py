"""Runner of mt3-infer through its public functions, on our parameters. Runs in its environment.

As shipped, mt3-infer computes another log-mel than the one the parameters were trained on:
torchaudio's `MelSpectrogram` of the squared magnitude, centred frames with reflected ends, filters
up to 8,000 Hz in place of 7,600, one frame too many, and ``log(x + 1e-6)``. ``--log-mel mended``
replaces that one method by MT3's own (the definition of `mt3_model/spectrogram/logmel.py`, with
its frozen arrays) and nothing else: not its position table, which divides by 256 where T5X divides
by 255, not its generation without a cache, not its filter of tracks.

With ``--device cuda`` its network is on the GPU, in float32; the log-mel is computed on the CPU
either way, because both of its processors return NumPy arrays.
Source: mt3_infer 0.2.0, models/mt3_pytorch/contrib/spectrograms_torch.py and t5.py.
"""

import argparse
import os
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from mt3_infer import load_model
from mt3_infer.models.mt3_pytorch.contrib.spectrograms_torch import SpectrogramProcessor
from mt3_infer.utils.audio import load_audio

from tests.benchmarks.peers.protocol import Loaded, serve

HOP_WIDTH, FFT_SIZE, SAMPLE_RATE, MEL_BINS = 128, 2_048, 16_000, 512
"""Samples, samples, Hz, F. Source: mt3_model/spec.py, `SpectrogramSpec`."""
LOG_FLOOR = 1e-5
"""Source: mt3_model/spectrogram/logmel.py."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder written by mt3_infer_checkpoint"
    )
    parser.add_argument("--front-end", type=Path, required=True, help="front_end.npz")
    parser.add_argument("--log-mel", choices=("mended", "shipped"), required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    serve(lambda: load(arguments))


def load(arguments):
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if arguments.log_mel == "mended":
        mend_logmel(arguments.front_end)
    model = load_model(
        "mt3_pytorch",
        checkpoint_path=str(arguments.checkpoint),
        device=arguments.device,
        auto_download=False,
    )

    def transcribe(recording, midi):
        samples, rate = load_audio(str(recording), sr=SAMPLE_RATE)
        model.transcribe(samples, sr=rate).save(str(midi))

    return Loaded(
        transcribe=transcribe,
        versions={
            name: metadata.version(name)
            for name in ("mt3-infer", "torch", "transformers", "torchaudio", "numpy")
        },
        details={
            "log_mel": arguments.log_mel,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        },
    )


def mend_logmel(front_end):
    """Replace the log-mel of mt3-infer's processor by MT3's, [T, F] of one segment's samples."""
    window, matrix = read_front_end(front_end)

    def compute_spectrogram(self, samples):
        waveform = torch.as_tensor(samples, dtype=torch.float32)
        padded = torch.nn.functional.pad(waveform, (0, FFT_SIZE - HOP_WIDTH))
        frames = padded.unfold(0, FFT_SIZE, HOP_WIDTH) * window  # [T, fft_size]
        mel = torch.fft.rfft(frames).abs() @ matrix  # [T, F]
        return torch.log(torch.where(mel <= 0.0, LOG_FLOOR, mel)).numpy()

    SpectrogramProcessor.compute_spectrogram = compute_spectrogram


def read_front_end(file):
    """Read the window [fft_size] and the mel matrix [fft_size / 2 + 1, F] of `front_end.npz`."""
    with np.load(file) as arrays:
        matrix = np.zeros((FFT_SIZE // 2 + 1, MEL_BINS), np.float32)
        matrix[arrays["mel_rows"], arrays["mel_columns"]] = arrays["mel_weights"]
        return torch.from_numpy(arrays["window"]), torch.from_numpy(matrix)


if __name__ == "__main__":
    main()
