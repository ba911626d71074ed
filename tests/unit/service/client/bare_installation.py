"""`mt3` as it is installed without extras: with httpx2, and nothing heavy."""

import subprocess
import sys

_PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "numpy", "jax", "flax", "tqdm", "pydantic", "fastapi", "mido", "soundfile", "av"
        }:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from service.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_bare(*arguments):
    """Run a command where packages that such an installation lacks cannot be imported."""
    subprocess.run([sys.executable, "-c", _PROGRAM, *map(str, arguments)], check=True)
