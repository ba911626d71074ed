"""Objects of callers: only from configured places, with unchanged keys, and within limits."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt3_model.errors import OptionError
from service.errors import ItemError, StorageError
from service.fetching.object_fetcher import LONGEST_REFERENCE, ObjectFetcher
from tests.unit.service.storage.s3_at_hand import local_s3

CONTENT = os.urandom(3 << 20)


async def refused(fetcher, reference, path):
    with pytest.raises(ItemError) as caught:
        await fetcher.fetch(reference, path)
    for inner in ("127.0.0.1", "bucket-", "test", "amazonaws"):
        assert inner not in str(caught.value)
    return caught.value.code, caught.value.is_transient


@pytest.fixture
def s3(monkeypatch):
    with local_s3(monkeypatch) as server:
        yield server


def place(server, folder="folder"):
    return f"s3://{server.bucket}/{folder}?endpoint=http://127.0.0.1:{server.port}&region=eu-west-1"


async def test_an_object_of_an_allowed_place_is_brought(s3, tmp_path):
    s3.client().put_object(Bucket=s3.bucket, Key="folder/a b/ü #1?.wav", Body=CONTENT)
    s3.client().put_object(Bucket=s3.bucket, Key="folder-evil/a.wav", Body=b"secret")
    s3.client().put_object(Bucket=s3.bucket, Key="other/a.wav", Body=b"secret")
    fetcher = ObjectFetcher(allowed=f" {place(s3)} ,", max_bytes=len(CONTENT))
    reference = f"s3://{s3.bucket}/folder/a b/ü #1?.wav"
    fetcher.check("inputs", reference)
    await fetcher.fetch(reference, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    missing = await refused(fetcher, f"s3://{s3.bucket}/folder/none.wav", tmp_path / "b")
    assert missing == ("input_not_found", False)
    small = ObjectFetcher(allowed=place(s3), max_bytes=len(CONTENT) - 1)
    assert await refused(small, reference, tmp_path / "b") == ("input_too_large", False)
    for key in ("folder-evil/a.wav", "other/a.wav", "folder/../other/a.wav", "folder", "folder/"):
        found = await refused(fetcher, f"s3://{s3.bucket}/{key}", tmp_path / "b")
        assert found == ("input_refused", False)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("key", ["x" * 1_900, "ü" * 513, "a/" * 512 + "a", "d/" + "ü" * 128])
async def test_a_key_that_no_store_takes_is_refused_at_the_door_and_not_tried_again(tmp_path, key):
    fetcher = ObjectFetcher(allowed=f"file://{tmp_path}", max_bytes=10)
    reference = f"file://{tmp_path}/{key}"
    with pytest.raises(OptionError, match="longer than"):
        fetcher.check("inputs", reference)
    assert await refused(fetcher, reference, tmp_path / "b") == ("input_refused", False)


async def test_a_path_that_leads_nowhere_is_not_tried_again(tmp_path):
    fetcher = ObjectFetcher(allowed=f"file://{tmp_path}", max_bytes=10)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    # Parts that are short enough each, and a path that is longer than the system takes.
    (tmp_path / "deep").symlink_to("/".join(["folder/.."] * 400))
    for key in ("file/song.wav", "loop", "folder", "deep/x"):
        found = await refused(fetcher, f"file://{tmp_path}/{key}", tmp_path / "b")
        assert found in (("input_not_found", False), ("input_refused", False)), key


@pytest.mark.slow
async def test_a_store_that_does_not_answer_may_answer_later(s3, tmp_path):
    fetcher = ObjectFetcher(allowed=place(s3), max_bytes=10)
    s3.stop()
    found = await refused(fetcher, f"s3://{s3.bucket}/folder/a.wav", tmp_path / "a")
    assert found == ("input_unreachable", True)


async def test_a_bucket_that_is_not_there_is_no_fault_of_the_server(s3, tmp_path):
    allowed = place(s3).replace(s3.bucket, "no-such-bucket")
    found = await refused(
        ObjectFetcher(allowed=allowed, max_bytes=10), "s3://no-such-bucket/folder/a", tmp_path / "a"
    )
    assert found[0] in {"input_not_found", "input_refused", "input_unreachable"}


@pytest.mark.parametrize(
    "reference",
    [
        "s3://bucket/folder-evil/a.wav", "s3://bucket/folder", "s3://bucket/folder/",
        "s3://bucket/folder//a.wav", "s3://bucket/folder/../other/a.wav", "s3://bucket/folder/..",
        "s3://bucket/folder/a/../../other/a.wav", "s3://bucket/folder/./a.wav",
        "s3://bucket/folder/%2e%2e/other/a.wav", "s3://bucket/folder/%2E%2E%2Fother",
        "s3://bucket/folder/%252e%252e/other", "s3://bucket/folder%2f..%2fother",
        "s3://bucket/folder/..\\other", "s3://bucket/folder/a\0.wav", "s3://bucket/folder/a\n.wav",
        "s3://bucket.evil/folder/a.wav", "s3://bucket@evil/folder/a.wav", "S3://bucket/folder/a.wav",
        "s3://Bucket/folder/a.wav", "s3:/bucket/folder/a.wav", "gs://bucket/folder/a.wav",
        "s3://other/folder/a.wav", "s3://bucket/Folder/a.wav", " s3://bucket/folder/a.wav",
        "file:///bucket/folder/a.wav", "https://bucket/folder/a.wav", "",
        "s3://bucket/folder/" + "a" * LONGEST_REFERENCE, "s3://bucket/folder?endpoint=http://evil/a",
    ],
)  # fmt: skip
async def test_references_that_leave_the_place_are_refused_before_any_store_is_asked(
    reference, tmp_path
):
    fetcher = ObjectFetcher(allowed="s3://bucket/folder", max_bytes=10)
    with pytest.raises(OptionError, match=r"^inputs: ") as caught:
        fetcher.check("inputs", reference)
    assert caught.value.parameter == "inputs"
    with pytest.raises(ItemError) as error:
        await fetcher.fetch(reference, tmp_path / "a")
    assert (error.value.code, error.value.is_transient) == ("input_refused", False)
    assert not fetcher._stores
    with pytest.raises(OptionError):
        ObjectFetcher(allowed="", max_bytes=10).check("inputs", "s3://bucket/folder/a.wav")


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "/", "%2e", "%2F", "\\", "b.wav"]), max_size=8)
)
def test_whatever_is_taken_has_only_plain_parts(parts):
    fetcher = ObjectFetcher(allowed="s3://bucket/folder", max_bytes=10)
    try:
        _, key = fetcher._find("s3://bucket/folder/" + "/".join(parts))
    except ItemError:
        return
    assert os.path.normpath(key) == key
    assert not key.startswith(("/", ".."))


async def test_a_folder_is_a_place_too_and_links_do_not_lead_out_of_it(tmp_path):
    music = tmp_path / "music"
    (music / "in").mkdir(parents=True)
    (music / "in" / "a.wav").write_bytes(b"sound")
    (tmp_path / "music-evil").mkdir()
    (tmp_path / "music-evil" / "a.wav").write_bytes(b"secret")
    (music / "link.wav").symlink_to(tmp_path / "music-evil" / "a.wav")
    (music / "out").symlink_to(tmp_path / "music-evil")
    (music / "inside.wav").symlink_to(music / "in" / "a.wav")
    os.mkfifo(music / "pipe.wav")
    fetcher = ObjectFetcher(allowed=f"file://{music}", max_bytes=10)
    for name in ("in/a.wav", "inside.wav"):
        await fetcher.fetch(f"file://{music}/{name}", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"sound"
    for name, code in (
        ("link.wav", "input_refused"), ("out/a.wav", "input_refused"),
        ("../music-evil/a.wav", "input_refused"), ("none.wav", "input_not_found"),
        ("pipe.wav", "input_not_found"), ("in", "input_not_found"),
    ):  # fmt: skip
        with pytest.raises(ItemError) as caught:
            await fetcher.fetch(f"file://{music}/{name}", tmp_path / "other")
        assert caught.value.code == code
        assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "allowed",
    ["bucket/folder", "http://host/a", "s3://", "s3://a/../b", "s3://a//b", "s3://u:p@bucket/a",
     "s3://a/%2e%2e", "file://folder", "file:///", "s3://a/b, nonsense"],
)  # fmt: skip
def test_what_is_no_place_is_said_at_the_start(allowed):
    with pytest.raises(StorageError, match="not a location"):
        ObjectFetcher(allowed=allowed, max_bytes=10)


@pytest.mark.parametrize(
    "location",
    [
        "s3://KEY:SEC/RET@bucket/x",
        "http://KEY:SEC/RET@bucket",
        "KEY:SEC/RET@bucket",
        "s3://SEC/RET@",
    ],
)
def test_the_error_for_a_location_shows_no_credentials(location):
    with pytest.raises(StorageError, match="not a location") as refused:
        ObjectFetcher(allowed=f"s3://other, {location}", max_bytes=1)
    assert "SEC/RET" not in str(refused.value)
    assert "****@" in str(refused.value)
