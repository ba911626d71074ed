"""A T5X folder is read exactly; an error about a damaged folder names the array."""

import contextlib
import json

import ml_dtypes
import numpy as np
import pytest
from flax import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mt3_model import spec
from mt3_model.checkpoint import t5x
from mt3_model.errors import CheckpointContentError, CheckpointError, CheckpointNotFoundError
from mt3_model.network.params import parameter_shapes
from tests.examples import examples
from tests.unit.checkpoint.stand_ins import TINY, draw_arrays, write_t5x

KERNEL = "encoder/layers_1/mlp/wo/kernel"


@pytest.fixture
def folder(tmp_path):
    write_t5x(draw_arrays(TINY), tmp_path / "tiny")
    return tmp_path / "tiny"


def edit_index(folder, edit):
    index = serialization.msgpack_restore((folder / "checkpoint").read_bytes())
    edit(index)
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(index))


def edit_kernel_spec(folder, **changes):
    def edit(index):
        index["optimizer"]["target"]["encoder"]["layers_1"]["mlp"]["wo"]["kernel"] |= changes

    edit_index(folder, edit)


def test_what_is_written_is_read_back_bit_for_bit(folder):
    arrays = t5x.read_t5x(folder)
    expected = draw_arrays(TINY)
    assert list(arrays) == sorted(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(arrays[path], array, strict=True)


@pytest.mark.parametrize(
    "model",
    [
        "ismir2021",
        "ismir2022_small",
        pytest.param("ismir2022_base", marks=pytest.mark.slow),
    ],
)
def test_a_published_model_of_true_shapes_is_written_and_read_back(model, tmp_path):
    # Drawn by tiling: random numbers for 201 million parameters would take most of the time.
    pattern = np.linspace(-1, 1, 1 << 10, dtype=np.float32)
    shapes = parameter_shapes(spec.MODELS[model].network)
    arrays = {path: np.resize(pattern * i, shape) for i, (path, shape) in enumerate(shapes.items())}
    write_t5x(arrays, tmp_path / model)
    for path, array in t5x.read_t5x(tmp_path / model).items():
        assert np.array_equal(array, arrays.pop(path)), path
    assert not arrays


def test_vectors_lie_in_the_index_and_matrices_beside_it_as_in_the_published_files(folder):
    shapes = parameter_shapes(TINY.network)
    matrices = {f"target.{p.replace('/', '.')}" for p, shape in shapes.items() if len(shape) > 1}
    assert {entry.name for entry in folder.iterdir()} == matrices | {"checkpoint"}


def test_newer_t5x_keeps_the_tree_at_target(folder):
    def move(index):
        index["target"] = index.pop("optimizer")["target"]

    edit_index(folder, move)
    assert len(t5x.read_t5x(folder)) == len(draw_arrays(TINY))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrower_floats_are_widened(folder, dtype):
    narrow = np.arange(8).astype(getattr(ml_dtypes, dtype, dtype))

    def edit(index):
        index["optimizer"]["target"]["encoder"]["encoder_norm"]["scale"] = narrow

    edit_index(folder, edit)
    scale = t5x.read_t5x(folder)["encoder/encoder_norm/scale"]
    np.testing.assert_array_equal(scale, np.arange(8, dtype=np.float32), strict=True)


def test_shapes_are_checked_before_the_arrays_are_read(folder):
    (folder / f"target.{KERNEL.replace('/', '.')}" / "0.0").unlink()  # reading it would fail

    class RefusedError(Exception):
        pass

    def refuse(shapes):
        assert dict(shapes) == parameter_shapes(TINY.network)
        raise RefusedError

    with pytest.raises(RefusedError):
        t5x.read_t5x(folder, check=refuse)


def test_a_folder_without_an_index_is_not_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="no file 'checkpoint'"):
        t5x.read_t5x(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01", b"not msgpack", b"\x80" * 9])
def test_a_corrupt_index_is_rejected(folder, content):
    (folder / "checkpoint").write_bytes(content)
    with pytest.raises(CheckpointContentError, match="checkpoint"):
        t5x.read_t5x(folder)


def test_an_index_cut_anywhere_is_rejected(folder):
    whole = (folder / "checkpoint").read_bytes()
    for size in range(0, len(whole), 97):
        (folder / "checkpoint").write_bytes(whole[:size])
        with pytest.raises(CheckpointContentError):
            t5x.read_t5x(folder)


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_any_byte_of_the_index_may_be_wrong_without_another_error(folder, at, byte):
    index = folder / "checkpoint"
    original = index.read_bytes()
    try:
        position = int(at * len(original))
        index.write_bytes(original[:position] + bytes([byte]) + original[position + 1 :])
        with contextlib.suppress(CheckpointError):
            t5x.read_t5x(folder)
    finally:
        index.write_bytes(original)


def test_an_index_of_another_version_is_rejected(folder):
    edit_index(folder, lambda index: index.update(version=4))
    with pytest.raises(CheckpointContentError, match="version 4; expected 3"):
        t5x.read_t5x(folder)


@pytest.mark.parametrize("place", ["../elsewhere/", "/etc/", "a/../../b/", "", "..\\up/", "a\0b"])
def test_a_path_that_leaves_the_folder_is_rejected_by_the_arrays_name(folder, place):
    edit_kernel_spec(folder, kvstore={"driver": "gfile", "path": place})
    with pytest.raises(CheckpointContentError, match=KERNEL):
        t5x.read_t5x(folder)


@pytest.mark.parametrize("changes", [{"driver": "n5"}, {"kvstore": None}, {"kvstore": {"path": 3}}])
def test_a_malformed_spec_is_rejected_by_the_arrays_name(folder, changes):
    edit_kernel_spec(folder, **changes)
    with pytest.raises(CheckpointContentError, match=KERNEL):
        t5x.read_t5x(folder)


@pytest.mark.parametrize("damage", ["no folder", "no chunk", "truncated", "corrupt", "no json"])
def test_a_damaged_array_is_rejected_by_name(folder, damage):
    array = folder / f"target.{KERNEL.replace('/', '.')}"
    chunk = array / "0.0"
    match damage:
        case "no folder":
            array.rename(folder / "elsewhere")
        case "no chunk":  # zarr itself would read zeros
            chunk.unlink()
        case "truncated":
            chunk.write_bytes(chunk.read_bytes()[:-20])
        case "corrupt":
            chunk.write_bytes(b"\x00" * 50)
        case _:
            (array / ".zarray").write_text("{")
    with pytest.raises(CheckpointContentError, match=KERNEL):
        t5x.read_t5x(folder)


def test_an_array_that_claims_to_be_vast_is_rejected_before_it_is_read(folder):
    file = folder / f"target.{KERNEL.replace('/', '.')}" / ".zarray"
    content = json.loads(file.read_text()) | {"shape": [1 << 40, 1 << 20]}
    file.write_text(json.dumps(content))

    def check(shapes):
        if shapes[KERNEL] != parameter_shapes(TINY.network)[KERNEL]:
            raise CheckpointContentError(KERNEL)

    with pytest.raises(CheckpointContentError, match=KERNEL):
        t5x.read_t5x(folder, check=check)


@pytest.mark.parametrize("leaf", [3, "PLACEHOLDER://x", None, np.arange(8)])
def test_a_leaf_that_is_no_float_array_is_rejected_by_name(folder, leaf):
    def edit(index):
        index["optimizer"]["target"]["encoder"]["encoder_norm"]["scale"] = leaf

    edit_index(folder, edit)
    with pytest.raises(CheckpointContentError, match="encoder/encoder_norm/scale"):
        t5x.read_t5x(folder)
