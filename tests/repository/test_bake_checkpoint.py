"""The image's build step leaves one verified file that the server loads."""

import dataclasses
import importlib.util
import stat

from mt3_model.checkpoint.loading import load_checkpoint
from tests.repository.tracked_files import ROOT
from tests.unit.checkpoint.local_bucket import serve
from tests.unit.checkpoint.stand_ins import TINY, draw_arrays, write_t5x


def load_script():
    spec = importlib.util.spec_from_file_location("bake", ROOT / "deploy" / "bake_checkpoint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_baking_leaves_one_converted_file(tmp_path):
    source = tmp_path / "source"
    write_t5x(draw_arrays(TINY), source)
    files = {
        file.relative_to(source).as_posix(): file.read_bytes()
        for file in source.rglob("*")
        if file.is_file()
    }
    destination = tmp_path / "checkpoints"
    destination.mkdir()
    with serve(files) as bucket:
        entry = dataclasses.replace(bucket.entry("tiny"), spec=TINY)
        file = load_script().bake_checkpoint(entry, destination)
    assert [path.name for path in destination.iterdir()] == ["tiny.safetensors"]
    # Root bakes the file, and another user serves it.
    assert file.stat().st_mode & stat.S_IROTH
    assert load_checkpoint(file, TINY).sha256 == load_checkpoint(source, TINY).sha256
