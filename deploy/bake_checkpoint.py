"""Download a model and write it as one converted checkpoint; the image's build runs this.

    python deploy/bake_checkpoint.py mt3 /checkpoints

Downloads and verifies the published files, converts them, and keeps only the converted file.
"""

import sys
import tempfile
from pathlib import Path

from mt3_model.checkpoint.download import download_model
from mt3_model.checkpoint.loading import convert_checkpoint
from mt3_model.checkpoint.manifest import ManifestEntry, read_entry


def bake_checkpoint(entry: ManifestEntry, folder: Path) -> Path:
    """Write `<folder>/<model>.safetensors` and return its path."""
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        source = download_model(entry, Path(downloads))
        file = folder / f"{entry.name}.safetensors"
        checkpoint = convert_checkpoint(source, file, entry.spec)
    print(f"{file}: parameters {checkpoint.sha256}")
    return file


if __name__ == "__main__":
    model, destination = sys.argv[1:]
    bake_checkpoint(read_entry(model), Path(destination))
