"""The manifest is validated, and describes the published files correctly."""

import hashlib

import pytest

from mt3_model.checkpoint import download, manifest
from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError
from mt3_model.spec import MODELS

ENTRY = """
format_version = 1
[models.mt3]
spec = "mt3"
description = "d"
base_url = "https://example.org/"
listing_url = "https://example.org/list"
licence = "l"
files = [{{ path = "{path}", bytes = {size}, sha256 = "{sha256}" }}]
"""


def read(tmp_path, text):
    file = tmp_path / "manifest.toml"
    file.write_text(text)
    return manifest.read_manifest(file)


def entry_text(path="a/0.0", size=3, sha256="0" * 64):
    return ENTRY.format(path=path, size=size, sha256=sha256)


def test_every_published_model_has_an_entry_with_its_spec():
    entries = manifest.read_manifest()
    assert set(entries) == set(MODELS)
    assert all(entry.spec is MODELS[name] for name, entry in entries.items())
    assert all(entry.base_url.startswith("https://") for entry in entries.values())


def test_mt3_has_295_files_and_the_others_have_no_known_files():
    entries = manifest.read_manifest()
    assert {name: len(entry.files) for name, entry in entries.items()} == {
        "mt3": 295,
        "ismir2021": 0,
        "ismir2022_small": 0,
        "ismir2022_base": 0,
    }


@pytest.mark.checkpoint
def test_the_published_files_are_those_of_the_manifest(checkpoint_folder):
    entry = manifest.read_entry("mt3")
    download.verify_model(entry, checkpoint_folder)
    found = {
        file.relative_to(checkpoint_folder).as_posix(): file.stat().st_size
        for file in checkpoint_folder.rglob("*")
        if file.is_file()
    }
    assert found == {file.path: file.bytes for file in entry.files}
    assert entry.total_bytes == sum(found.values())


def test_an_unknown_model_is_rejected_with_the_known_names():
    with pytest.raises(CheckpointNotFoundError, match="no model 'mt4'; it has ismir2021"):
        manifest.read_entry("mt4")


def test_an_entry_is_read(tmp_path):
    sha256 = hashlib.sha256(b"abc").hexdigest()
    (file,) = read(tmp_path, entry_text(sha256=sha256.upper()))["mt3"].files
    assert file == manifest.ManifestFile(path="a/0.0", bytes=3, sha256=sha256)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "format_version = 2",
        "format_version = 1",
        "format_version = 1\n[models.mt3]\nspec = 3",
        entry_text().replace('spec = "mt3"', 'spec = "mt4"'),
        entry_text().replace('base_url = "https://example.org/"', 'base_url = "https://x"'),
        entry_text(path="../up"),
        entry_text(path="/root"),
        entry_text(path="a//b"),
        entry_text(path=""),
        entry_text(size=-1),
        entry_text(size='"3"'),
        entry_text(sha256="0"),
    ],
)
def test_a_malformed_manifest_is_rejected(tmp_path, text):
    with pytest.raises(CheckpointContentError):
        read(tmp_path, text)
