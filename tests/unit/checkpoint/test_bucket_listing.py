"""A model without known checksums is verified with the bucket's listing, and later with sha256."""

import hashlib
import shutil

import pytest

from mt3_model.checkpoint import download, fetching
from mt3_model.errors import DownloadError
from tests.unit.checkpoint import local_bucket
from tests.unit.checkpoint.local_bucket import serve

FAST = fetching.FetchOptions(max_attempts=2, initial_backoff_seconds=0.01, read_timeout_seconds=1.0)
FILES = {"checkpoint": b"index", "target.a/.zarray": b"{}", "target.a/0.0": b"numbers"}


def fetch(bucket, folder):
    return download.download_model(
        bucket.entry("ismir2021", with_files=False), folder, options=FAST
    )


def test_every_file_of_every_page_is_fetched_and_its_sha256_recorded(tmp_path):
    with serve(FILES) as bucket:
        folder = fetch(bucket, tmp_path)
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    recorded = (tmp_path / "ismir2021.sha256sums").read_text().splitlines()
    assert recorded == [
        f"{hashlib.sha256(body).hexdigest()}  {path}" for path, body in sorted(FILES.items())
    ]


def test_a_corrupted_transfer_is_found_by_md5(tmp_path):
    faults = [local_bucket.corrupted, local_bucket.corrupted]
    with (
        serve(FILES, **{"target.a/0.0": faults}) as bucket,
        pytest.raises(DownloadError, match="found MD5"),
    ):
        fetch(bucket, tmp_path)


def test_a_downloaded_model_is_compared_with_the_recorded_checksums(tmp_path):
    with serve(FILES) as bucket:
        folder = fetch(bucket, tmp_path)
        fetch(bucket, tmp_path)
        (folder / "target.a/0.0").write_bytes(b"NUMBERS")
        with pytest.raises(DownloadError, match="sha256"):
            fetch(bucket, tmp_path)


def test_a_bucket_that_changed_since_the_first_download_is_rejected(tmp_path):
    with serve(FILES) as bucket:
        shutil.rmtree(fetch(bucket, tmp_path))
        bucket.files = FILES | {"target.a/0.0": b"other numbers"}
        with pytest.raises(DownloadError, match="found sha256"):
            fetch(bucket, tmp_path)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "a\\b"])
def test_a_listed_path_that_leaves_the_folder_is_rejected(tmp_path, name):
    with serve(FILES) as bucket:
        bucket.listing_changes = {"target.a/0.0": {"name": f"checkpoints/ismir2021/{name}"}}
        with pytest.raises(DownloadError, match="inside the model's folder"):
            fetch(bucket, tmp_path)


@pytest.mark.parametrize("changes", [{"md5Hash": None}, {"md5Hash": "?"}, {"size": "many"}])
def test_a_listing_that_cannot_verify_a_file_is_rejected(tmp_path, changes):
    with serve(FILES) as bucket:
        bucket.listing_changes = {"target.a/0.0": changes}
        with pytest.raises(DownloadError, match=r"target\.a/0\.0"):
            fetch(bucket, tmp_path)


def test_a_listing_without_an_index_is_no_checkpoint(tmp_path):
    with serve({}) as bucket, pytest.raises(DownloadError, match="no 'checkpoint'"):
        fetch(bucket, tmp_path)


def test_no_listing_is_an_error(tmp_path):
    with serve(FILES) as bucket:
        entry = bucket.entry("ismir2021", with_files=False)
    with pytest.raises(DownloadError, match="gives no listing"):
        download.download_model(entry, tmp_path, options=FAST)
