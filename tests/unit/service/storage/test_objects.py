"""Objects in a folder and in an S3 behave the same."""

import asyncio
import contextlib
import errno
import os
import time

import pytest
from obstore.store import AzureStore, GCSStore

from service.errors import (
    StorageError,
    StorageFullError,
    StorageNotFoundError,
    StorageUnavailableError,
)
from service.storage.objects import open_objects, open_store
from tests.unit.service.storage.s3_at_hand import local_s3

LARGE = os.urandom(12 << 20)  # more than one part of an upload


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        if request.param == "folder":
            yield open_objects(f"file://{tmp_path}/some%20where")
        else:
            yield open_objects(stack.enter_context(local_s3(monkeypatch)).url)


async def listed(objects, prefix):
    return {found.key: found async for found in objects.list_prefix(prefix)}


async def test_what_is_put_is_got(objects, tmp_path):
    (tmp_path / "source").write_bytes(LARGE)
    await objects.put("a/b/0", b"small")
    await objects.put("a/b/1", tmp_path / "source")
    assert await objects.get("a/b/0") == b"small"
    await objects.get_to("a/b/1", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == LARGE
    await objects.put("a/b/0", b"new")
    assert await objects.get("a/b/0") == b"new"
    await objects.put("empty", b"")
    assert await objects.get("empty") == b""


async def test_what_is_not_there_is_said_so(objects, tmp_path):
    assert not await objects.exists("a/b")
    await objects.put("a/b/c", b"x")
    assert await objects.exists("a/b/c")
    assert not await objects.exists("a/b"), "a prefix is no object"
    for ask in (objects.get("a/z"), objects.get_to("a/z", tmp_path / "copy")):
        with pytest.raises(StorageNotFoundError, match="a/z"):
            await ask
    assert not (tmp_path / "copy").exists()
    await objects.delete("a/z")
    assert await objects.delete_prefix("nothing") == 0


async def test_a_prefix_is_listed_and_deleted_whole_and_alone(objects):
    for key in ("jobs/ab/inputs/0", "jobs/ab/results/0", "jobs/abc/inputs/0", "other"):
        await objects.put(key, b"12345")
    found = await listed(objects, "jobs/ab")
    assert sorted(found) == ["jobs/ab/inputs/0", "jobs/ab/results/0"]
    assert {o.size_bytes for o in found.values()} == {5}
    assert all(abs(o.modified_at - time.time()) < 60 for o in found.values())
    assert await objects.delete_prefix("jobs/ab") == 2
    assert sorted(await listed(objects, "jobs")) == ["jobs/abc/inputs/0"]
    await objects.delete("other")
    assert not await objects.exists("other")


@pytest.mark.slow
async def test_many_objects_are_listed_and_deleted(objects):
    for first in range(0, 1_100, 50):  # the S3 of the tests accepts one connection after the other
        await asyncio.gather(*(objects.put(f"many/{n}", b"") for n in range(first, first + 50)))
    assert await objects.delete_prefix("many") == 1_100
    assert not await listed(objects, "many")


async def test_a_local_delete_leaves_no_folder_and_a_put_no_other_file(tmp_path):
    objects = open_objects(f"file://{tmp_path}/objects")
    await objects.put("jobs/a/results/0", b"x")
    assert [p.name for p in (tmp_path / "objects").rglob("*") if p.is_file()] == ["0"]
    await objects.delete_prefix("jobs/a")
    assert not (tmp_path / "objects" / "jobs" / "a").exists()


async def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    objects = open_objects(f"file://{tmp_path}")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageFullError, match="a/b"):
            await objects.put("a/b", b"x")
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.slow
async def test_a_store_that_does_not_answer_is_unavailable(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    objects = open_objects("s3://bucket?endpoint=http://127.0.0.1:9&region=eu-west-1")
    for ask in (objects.get("a"), objects.put("a", b""), objects.exists("a"), objects.delete("a")):
        with pytest.raises(StorageUnavailableError):
            await ask


async def test_a_bucket_that_is_not_there_is_no_missing_object(monkeypatch):
    with local_s3(monkeypatch) as server:
        missing = server.url.replace(server.bucket, "other")
        with pytest.raises(StorageError):
            await open_objects(missing).put("a", b"")


@pytest.mark.parametrize(
    ("url", "kind", "place", "prefix"),
    [
        ("gs://bucket/some/prefix", GCSStore, {"bucket": "bucket"}, "some/prefix"),
        ("gs://bucket", GCSStore, {"bucket": "bucket"}, None),
        ("az://container/some/prefix", AzureStore, {"container_name": "container"}, "some/prefix"),
        ("az://container", AzureStore, {"container_name": "container"}, None),
    ],
)
def test_googles_and_azures_stores_open_at_their_place(url, kind, place, prefix, monkeypatch):
    """Clouds are opened without contact, which begins with the first use."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    store, folder = open_store(url)
    assert type(store) is kind
    assert store.prefix == prefix
    assert store.config == place
    assert folder is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "relative",
        "s3://key:secret@bucket",
        "s3://bucket?surprise=1",
        "",
        "file://x",
    ],
)
def test_other_urls_are_refused(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError):
        open_objects(url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["../x", "/x", "a/../b", "a//b", "a b", "", "a/", ".hidden"])
async def test_no_other_key_than_ours_is_taken(key, tmp_path):
    objects = open_objects(f"file://{tmp_path}/objects")
    with pytest.raises(AssertionError):
        await objects.put(key, b"x")


def test_azures_container_before_the_account_is_no_credentials():
    store, folder = open_store("abfss://songs@account.dfs.core.windows.net/mt3")
    assert folder is None
    assert (store.config["container_name"], store.config["account_name"]) == ("songs", "account")
    assert store.prefix == "mt3"
    with pytest.raises(StorageError, match="must not contain credentials"):
        open_store("abfss://songs:secret@account.dfs.core.windows.net/mt3")


@pytest.mark.parametrize("url", ["s3://", "az://container/mt3"])
def test_why_a_storage_cannot_be_opened_is_one_line(url, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorageError, match="cannot be opened: Generic") as caught:
        open_store(url)
    assert "\n" not in str(caught.value)
    assert "Debug source" not in str(caught.value)
