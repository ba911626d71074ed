"""Loading a checkpoint of either format gives the model's parameters or a clear error."""

import dataclasses
import hashlib

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from mt3_model import spec
from mt3_model.checkpoint import converted, loading
from mt3_model.checkpoint.digest import digest_arrays
from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError
from mt3_model.network.params import parameter_shapes
from tests.unit.checkpoint.stand_ins import TINY, draw_arrays, write_t5x

SCALE = "encoder/encoder_norm/scale"


def write_folder(folder, **changes):
    """Write a tiny checkpoint with some arrays changed or, with None, removed. `__` is a slash."""
    arrays = draw_arrays(TINY) | {name.replace("__", "/"): array for name, array in changes.items()}
    write_t5x({path: array for path, array in arrays.items() if array is not None}, folder)
    return folder


def test_parameters_are_nested_by_path(tmp_path):
    checkpoint = loading.load_checkpoint(write_folder(tmp_path / "tiny"), TINY)
    np.testing.assert_array_equal(
        checkpoint.parameters["decoder"]["layers_0"]["mlp"]["wi_0"]["kernel"],
        draw_arrays(TINY)["decoder/layers_0/mlp/wi_0/kernel"],
    )
    assert list(loading.flatten_parameters(checkpoint.parameters)) == sorted(draw_arrays(TINY))


def test_folder_and_converted_file_give_the_same_arrays_and_digest(tmp_path):
    folder, file = write_folder(tmp_path / "tiny"), tmp_path / "tiny.safetensors"
    written = loading.convert_checkpoint(folder, file, TINY)
    from_folder, from_file = (loading.load_checkpoint(path, TINY) for path in (folder, file))
    assert from_folder.sha256 == from_file.sha256 == written.sha256
    assert from_file.source == written.source == file
    for path, array in loading.flatten_parameters(from_folder.parameters).items():
        other = loading.flatten_parameters(from_file.parameters)[path]
        np.testing.assert_array_equal(array, other, strict=True)


def test_a_converted_file_has_the_mode_of_an_ordinary_new_file(tmp_path):
    file, ordinary = tmp_path / "tiny.safetensors", tmp_path / "ordinary"
    loading.convert_checkpoint(write_folder(tmp_path / "tiny"), file, TINY)
    ordinary.touch()
    assert oct(file.stat().st_mode) == oct(ordinary.stat().st_mode)


def test_the_index_file_stands_for_its_folder(tmp_path):
    folder = write_folder(tmp_path / "tiny")
    assert loading.load_checkpoint(folder / "checkpoint", TINY).sha256


def test_the_digest_is_the_sha256_of_one_line_per_array():
    arrays = {"b": np.array([[1, 2]], np.float32), "a/c": np.array([0.5], np.float32)}
    # Worked by hand: 0.5 is 3f000000, 1 is 3f800000, 2 is 40000000, little-endian.
    first = hashlib.sha256(bytes.fromhex("0000003f")).hexdigest()
    second = hashlib.sha256(bytes.fromhex("0000803f00000040")).hexdigest()
    expected = hashlib.sha256(f"a/c <f4 1 {first}\nb <f4 1,2 {second}\n".encode()).hexdigest()
    assert digest_arrays(arrays) == expected
    assert (
        digest_arrays({name: np.asfortranarray(arrays[name]) for name in ("a/c", "b")}) == expected
    )


def test_a_missing_array_is_named_with_its_shape(tmp_path):
    folder = write_folder(tmp_path / "tiny", encoder__encoder_norm__scale=None)
    with pytest.raises(CheckpointContentError, match=rf"1 missing: {SCALE} \(8,\)"):
        loading.load_checkpoint(folder, TINY)


def test_an_unknown_array_is_named(tmp_path):
    folder = write_folder(tmp_path / "tiny", encoder__more=np.ones(2, np.float32))
    with pytest.raises(CheckpointContentError, match=r"1 unknown: encoder/more \(2,\)"):
        loading.load_checkpoint(folder, TINY)


def test_a_misshapen_array_is_named_with_both_shapes(tmp_path):
    folder = write_folder(tmp_path / "tiny", encoder__encoder_norm__scale=np.ones(9, np.float32))
    with pytest.raises(
        CheckpointContentError,
        match=rf"1 misshapen: {SCALE} \(9,\), expected \(8,\)",
    ):
        loading.load_checkpoint(folder, TINY)


def test_at_most_ten_names_are_listed_and_the_rest_counted():
    wider = dataclasses.replace(TINY.network, width=16)
    with pytest.raises(CheckpointContentError, match="and 27 more") as caught:
        # 5 + 2 * 9 + 14 arrays of the tiny model have the width in their shape: all.
        loading.check_shapes(parameter_shapes(wider), TINY.network)
    assert len(parameter_shapes(wider)) == 37
    assert str(caught.value).count("expected") == 10


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected_by_name(tmp_path, value):
    scale = np.ones(8, np.float32)
    scale[5] = value
    folder = write_folder(tmp_path / "tiny", encoder__encoder_norm__scale=scale)
    with pytest.raises(CheckpointContentError, match=SCALE):
        loading.load_checkpoint(folder, TINY)


def test_finite_values_whose_sum_overflows_are_accepted(tmp_path):
    vast = np.full(8, np.finfo(np.float32).max)
    folder = write_folder(tmp_path / "tiny", encoder__encoder_norm__scale=vast)
    assert loading.load_checkpoint(folder, TINY).sha256


def test_a_converted_file_of_another_model_is_rejected_though_its_shapes_fit(tmp_path):
    file = tmp_path / "tiny.safetensors"
    loading.convert_checkpoint(write_folder(tmp_path / "tiny"), file, TINY)
    other = dataclasses.replace(TINY, name="other")
    with pytest.raises(CheckpointContentError, match="from the model 'tiny'; expected 'other'"):
        loading.load_checkpoint(file, other)


def test_a_converted_file_with_one_bit_turned_is_rejected(tmp_path):
    file = tmp_path / "tiny.safetensors"
    loading.convert_checkpoint(write_folder(tmp_path / "tiny"), file, TINY)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1  # the lowest bits of the last array's mantissa: still finite
    file.write_bytes(content)
    with pytest.raises(CheckpointContentError, match="header says"):
        loading.load_checkpoint(file, TINY)


@pytest.mark.parametrize("keep", [0, 5, 20, 500, -1])
def test_a_truncated_converted_file_is_rejected(tmp_path, keep):
    file = tmp_path / "tiny.safetensors"
    loading.convert_checkpoint(write_folder(tmp_path / "tiny"), file, TINY)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointContentError):
        loading.load_checkpoint(file, TINY)


def test_a_safetensors_file_without_our_header_is_rejected(tmp_path):
    file = tmp_path / "other.safetensors"
    safetensors_numpy.save_file(draw_arrays(TINY), file)
    with pytest.raises(CheckpointContentError, match="expected 'mt3-parameters'"):
        loading.load_checkpoint(file, TINY)


def test_a_converted_file_of_another_dtype_is_rejected(tmp_path):
    file = tmp_path / "half.safetensors"
    halves = {path: array.astype(np.float16) for path, array in draw_arrays(TINY).items()}
    metadata = {
        "format": converted.FORMAT,
        "format_version": converted.FORMAT_VERSION,
        "model": "tiny",
        "sha256": "0" * 64,
    }
    safetensors_numpy.save_file(halves, file, metadata)
    with pytest.raises(CheckpointContentError, match="found dtype F16; expected F32"):
        loading.load_checkpoint(file, TINY)


def test_nothing_at_the_path_is_not_found(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="nothing at"):
        loading.load_checkpoint(tmp_path / "absent", TINY)


@pytest.mark.parametrize(
    ("model", "arrays", "numbers"),
    [
        ("mt3", 189, 45_896_704),
        # The sizes of mt3 with 128 more tokens, in embedding and output: 2 * 128 * 512 = 131,072.
        ("ismir2021", 189, 46_027_776),
        ("ismir2022_small", 189, 45_896_704),
        # Encoder layer: 4*768*768 + 3*768*2048 + 2*768 = 7,079,424; decoder layer: 8*768*768 +
        # 3*768*2048 + 3*768 = 9,439,488; 12 of each = 198,226,944; projection 512*768, embedding
        # and output 2*768*1536, two norms of 768: 2,754,048.
        ("ismir2022_base", 281, 200_980_992),
    ],
)
def test_a_published_models_parameters_are_counted(model, arrays, numbers):
    shapes = parameter_shapes(spec.MODELS[model].network)
    assert len(shapes) == arrays
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == numbers


@pytest.mark.checkpoint
def test_the_published_checkpoint_loads_and_converts(checkpoint_folder, tmp_path):
    checkpoint = loading.load_checkpoint(checkpoint_folder, spec.MT3)
    flat = loading.flatten_parameters(checkpoint.parameters)
    assert len(flat) == 189
    assert sum(array.size for array in flat.values()) == 45_896_704
    # Computed from the published files; a change of the digest's definition must be noticed.
    assert checkpoint.sha256 == "4333331fa81338857e42ae003dd29bd97f5eb404ab48b3026fd7e5d77dff58ee"
    file = tmp_path / "mt3.safetensors"
    loading.convert_checkpoint(checkpoint_folder, file, spec.MT3)
    assert loading.load_checkpoint(file, spec.MT3).sha256 == checkpoint.sha256
