"""The first path with the model is used, and the error names every path tried."""

import pytest

from mt3_model.checkpoint import locating
from mt3_model.errors import CheckpointNotFoundError
from tests.unit.checkpoint.local_bucket import serve


def put_folder(place, name="mt3"):
    (place / name).mkdir(parents=True)
    (place / name / "checkpoint").write_bytes(b"index")
    return place / name


def put_file(place, name="mt3"):
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.safetensors").write_bytes(b"file")
    return place / f"{name}.safetensors"


def find(tmp_path, **arguments):
    arguments = {
        "repository_folder": tmp_path / "repository",
        "cache_folder": tmp_path / "cache",
        "offline": True,
    } | arguments
    return locating.find_checkpoint("mt3", **arguments)


def test_the_explicit_path_wins_over_every_other(tmp_path):
    put_folder(tmp_path / "repository" / "checkpoints")
    explicit = put_folder(tmp_path / "elsewhere", "any-name")
    assert find(tmp_path, explicit=explicit) == explicit


def test_the_explicit_path_may_be_a_converted_file(tmp_path):
    explicit = put_file(tmp_path, "any-name")
    assert find(tmp_path, explicit=explicit) == explicit


@pytest.mark.parametrize("put", [put_folder, put_file])
def test_the_explicit_path_may_hold_several_models(tmp_path, put):
    expected = put(tmp_path / "checkpoints")
    put(tmp_path / "checkpoints", "ismir2021")
    assert find(tmp_path, explicit=tmp_path / "checkpoints") == expected


def test_an_explicit_path_without_a_checkpoint_is_not_replaced_by_another_place(tmp_path):
    put_folder(tmp_path / "repository" / "checkpoints")
    with pytest.raises(CheckpointNotFoundError, match=str(tmp_path / "absent")):
        find(tmp_path, explicit=tmp_path / "absent")


@pytest.mark.parametrize("put", [put_folder, put_file])
def test_the_repository_wins_over_the_cache(tmp_path, put):
    expected = put(tmp_path / "repository" / "checkpoints")
    put(tmp_path / "cache")
    assert find(tmp_path) == expected


@pytest.mark.parametrize("put", [put_folder, put_file])
def test_the_cache_wins_over_a_download(tmp_path, put):
    expected = put(tmp_path / "cache")
    assert find(tmp_path, repository_folder=None, offline=False) == expected


def test_an_incomplete_folder_is_ignored(tmp_path):
    (tmp_path / "repository" / "checkpoints" / "mt3").mkdir(parents=True)
    expected = put_folder(tmp_path / "cache")
    assert find(tmp_path) == expected


def test_offline_the_error_lists_every_path_and_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointNotFoundError) as caught:
        find(tmp_path)
    message = str(caught.value)
    for path in ("repository/checkpoints/mt3", "cache/mt3", "cache/mt3.safetensors"):
        assert str(tmp_path / path) in message
    assert "MT3_OFFLINE" in message
    assert "--checkpoint" in message


def test_last_it_is_downloaded_into_the_cache(tmp_path):
    with serve({"checkpoint": b"index"}) as bucket:
        found = find(tmp_path, offline=False, entry=bucket.entry())
    assert found == tmp_path / "cache" / "mt3"
    assert find(tmp_path) == found
