"""Convert a safetensors checkpoint to the folder that mt3-infer loads, in its environment.

python -m tests.benchmarks.peers.mt3_infer_checkpoint CONVERTED.safetensors FOLDER
"""

import argparse
import json
from pathlib import Path

import torch
from mt3_infer.models.mt3_pytorch.t5 import T5Config, T5ForConditionalGeneration
from safetensors.numpy import load_file

from tests.benchmarks.peers.mt3_infer_layout import CONFIGURATION, lay_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("converted", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write(load_file(arguments.converted), arguments.folder)


def write(arrays, folder):
    """Write `config.json` and then, atomically, `mt3.pth`."""
    network = T5ForConditionalGeneration(T5Config.from_dict(CONFIGURATION))
    buffers = {name: value for name, value in network.named_buffers() if "inv_freq" in name}
    state = {name: torch.from_numpy(array) for name, array in lay_out(arrays).items()} | buffers
    network.load_state_dict(state, strict=True)  # rejects missing, unknown or misshapen arrays
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGURATION, indent=1))
    partial = folder / "mt3.pth.partial"
    torch.save(state, partial)
    partial.replace(folder / "mt3.pth")


if __name__ == "__main__":
    main()
