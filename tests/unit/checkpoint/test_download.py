"""A download gives a complete model folder, or an error and no folder."""

import dataclasses
import hashlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent import futures
from email.utils import formatdate
from pathlib import Path

import filelock
import pytest

from mt3_model.checkpoint import download, fetching, partial_file
from mt3_model.errors import DownloadError
from tests.unit.checkpoint import local_bucket
from tests.unit.checkpoint.local_bucket import serve, status, truncated_after
from tests.waiting import wait_until

FAST = fetching.FetchOptions(
    connections=3,
    max_attempts=3,
    connect_timeout_seconds=2.0,
    read_timeout_seconds=2.0,
    initial_backoff_seconds=0.01,
    max_backoff_seconds=0.02,
    lock_timeout_seconds=20.0,
)
LARGE = bytes(range(256)) * 80  # 20,480 bytes: many blocks
FILES = {"checkpoint": b"index", "target.a/.zarray": b"{}", "target.a/0.0": LARGE}


def fetch(bucket, folder, **overrides):
    return download.download_model(bucket.entry(), folder, options=FAST, **overrides)


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def asked_ranges(bucket, path="target.a/0.0"):
    return [asked for name, asked, _ in bucket.requests if name == path]


def test_the_folder_has_every_file_and_nothing_else(tmp_path):
    with serve(FILES) as bucket:
        folder = fetch(bucket, tmp_path)
    assert folder == tmp_path / "mt3"
    assert contents(folder) == FILES
    assert {entry.name for entry in tmp_path.iterdir()} == {"mt3", "mt3.lock"}


def test_progress_ends_at_the_total_bytes(tmp_path):
    seen = []
    with serve(FILES) as bucket:
        fetch(bucket, tmp_path, progress=lambda done, total: seen.append((done, total)))
    total = sum(map(len, FILES.values()))
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_several_files_are_fetched_at_once_but_no_more_than_allowed(tmp_path):
    with serve({f"file{i}": LARGE for i in range(9)}) as bucket:
        bucket.block_seconds = 0.002
        fetch(bucket, tmp_path)
    assert 2 <= bucket.busiest <= FAST.connections


def test_a_mirror_serves_in_place_of_the_entrys_address(tmp_path):
    with serve(FILES) as bucket:
        entry = dataclasses.replace(bucket.entry(), base_url="http://127.0.0.1:9/unused/")
        download.download_model(entry, tmp_path, options=FAST, base_url=bucket.entry().base_url)
    assert contents(tmp_path / "mt3") == FILES


def test_a_model_in_place_is_verified_and_not_fetched_again(tmp_path):
    with serve(FILES) as bucket:
        fetch(bucket, tmp_path)
        bucket.requests.clear()
        fetch(bucket, tmp_path)
        assert not bucket.requests


def test_a_model_in_place_with_another_content_is_rejected_by_the_files_name(tmp_path):
    with serve(FILES) as bucket:
        folder = fetch(bucket, tmp_path)
        (folder / "checkpoint").write_bytes(b"INDEX")
        with pytest.raises(DownloadError, match="checkpoint has sha256"):
            fetch(bucket, tmp_path)


def test_an_interrupted_transfer_is_resumed(tmp_path):
    with serve(FILES, **{"target.a/0.0": [truncated_after(4096)]}) as bucket:
        folder = fetch(bucket, tmp_path)
    assert contents(folder) == FILES
    again = ("target.a/0.0", "bytes=4096-", local_bucket.etag(LARGE))  # If-Range
    # Other files are fetched meanwhile.
    assert [each for each in bucket.requests if each[0] == again[0]][1:] == [again]


def test_attempts_with_progress_do_not_count_as_failures(tmp_path):
    cuts = [truncated_after(1024 * (i + 1)) for i in range(3 * FAST.max_attempts)]
    with serve(FILES, **{"target.a/0.0": cuts}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES


def test_attempts_without_progress_end_the_download(tmp_path):
    cuts = [truncated_after(1024) for _ in range(20)]
    with (
        serve(FILES, **{"target.a/0.0": cuts}) as bucket,
        pytest.raises(DownloadError, match=r"target\.a/0\.0 failed 3 times in a row"),
    ):
        fetch(bucket, tmp_path)
    assert not (tmp_path / "mt3").exists()


def test_a_file_that_changed_on_the_server_is_downloaded_from_its_start(tmp_path):
    old = LARGE[::-1]
    partial = tmp_path / "mt3.partial" / "target.a"
    partial.mkdir(parents=True)
    (partial / "0.0.part").write_bytes(old[:4096])
    (partial / "0.0.etag").write_text(local_bucket.etag(old))
    with serve(FILES) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES
    assert len(asked_ranges(bucket)) == 1  # If-Range: one answer, the whole new file


def test_a_server_without_ranges_sends_all_again(tmp_path):
    faults = [truncated_after(4096), local_bucket.without_ranges]
    with serve(FILES, **{"target.a/0.0": faults}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES


def test_a_response_for_another_range_is_discarded(tmp_path):
    faults = [truncated_after(4096), local_bucket.wrong_range]
    with serve(FILES, **{"target.a/0.0": faults}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES


def test_a_rejected_range_starts_the_file_again(tmp_path):
    faults = [truncated_after(4096), status(416)]
    with serve(FILES, **{"target.a/0.0": faults}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES
    assert asked_ranges(bucket) == [None, "bytes=4096-", None]


@pytest.mark.parametrize("fault", [local_bucket.corrupted, local_bucket.too_long])
def test_a_wrong_content_is_fetched_once_more(tmp_path, fault):
    with serve(FILES, **{"target.a/0.0": [fault]}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES
    assert asked_ranges(bucket) == [None, None]


def test_a_wrong_content_sent_twice_is_an_error_that_names_file_and_sums(tmp_path):
    faults = [local_bucket.corrupted, local_bucket.corrupted]
    with serve(FILES, **{"target.a/0.0": faults}) as bucket, pytest.raises(DownloadError) as caught:
        fetch(bucket, tmp_path)
    message = str(caught.value)
    assert "target.a/0.0" in message
    assert hashlib.sha256(LARGE).hexdigest() in message  # expected
    assert hashlib.sha256(LARGE[:-1] + b"\xfe").hexdigest() in message  # found: 0xff ^ 1
    assert "target.a/0.0" not in contents(tmp_path / "mt3.partial")
    assert "target.a/0.0.part" not in contents(tmp_path / "mt3.partial")


@pytest.mark.slow
def test_a_stalled_transfer_is_canceled_and_resumed(tmp_path):
    with serve(FILES, **{"target.a/0.0": [local_bucket.silent_after(2048)]}) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES
    assert asked_ranges(bucket) == [None, "bytes=2048-"]


@pytest.mark.parametrize("number", [408, 429, 500, 502, 503, 504])
def test_a_temporary_failure_is_retried(tmp_path, number):
    with serve(FILES, checkpoint=[status(number)]) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES


@pytest.mark.slow
def test_retry_after_is_obeyed(tmp_path):
    with serve(FILES, checkpoint=[status(503, Retry_After="1")]) as bucket:
        began = time.monotonic()
        fetch(bucket, tmp_path)
    assert time.monotonic() - began >= 1.0


@pytest.mark.slow
def test_retry_after_may_be_a_date(tmp_path):
    date = formatdate(time.time() + 2, usegmt=True)  # whole seconds: at least one from now
    with serve(FILES, checkpoint=[status(503, Retry_After=date)]) as bucket:
        began = time.monotonic()
        fetch(bucket, tmp_path)
    assert time.monotonic() - began >= 0.9


def test_a_retry_after_beyond_the_limit_ends_the_download(tmp_path):
    with (
        serve(FILES, checkpoint=[status(429, Retry_After="86400")]) as bucket,
        pytest.raises(DownloadError, match="asks to wait 86400 s"),
    ):
        fetch(bucket, tmp_path)


def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path):
    with serve(FILES) as bucket:
        entry = bucket.entry()
        del bucket.files["checkpoint"]
        with pytest.raises(DownloadError, match=r"checkpoint: the server answered 404"):
            download.download_model(entry, tmp_path, options=FAST)
    assert asked_ranges(bucket, "checkpoint") == [None]


def test_no_server_is_an_error_that_names_the_address(tmp_path):
    with serve(FILES) as bucket:
        entry = bucket.entry()
    with pytest.raises(DownloadError, match=bucket.url):
        download.download_model(entry, tmp_path, options=FAST)


def test_complete_files_are_kept_after_a_failure(tmp_path):
    # One at a time and the largest first: the other one fails after it.
    one_by_one = dataclasses.replace(FAST, connections=1)
    with serve(FILES, checkpoint=[status(404)]) as bucket:
        entry = bucket.entry()
        with pytest.raises(DownloadError):
            download.download_model(entry, tmp_path, options=one_by_one)
        bucket.requests.clear()
        assert contents(download.download_model(entry, tmp_path, options=one_by_one)) == FILES
        assert asked_ranges(bucket) == []


def test_a_damaged_file_of_an_earlier_run_is_fetched_again(tmp_path):
    partial = tmp_path / "mt3.partial"
    partial.mkdir()
    (partial / "checkpoint").write_bytes(b"i\0\0\0x")
    (partial / "stranger").write_bytes(b"of an older file list")
    with serve(FILES) as bucket:
        assert contents(fetch(bucket, tmp_path)) == FILES


def test_two_downloads_of_one_model_fetch_each_file_once(tmp_path):
    with serve(FILES) as bucket:
        bucket.block_seconds = 0.01
        with futures.ThreadPoolExecutor(2) as threads:
            folders = list(threads.map(lambda _: fetch(bucket, tmp_path), range(2)))
        assert folders == [tmp_path / "mt3"] * 2
        assert sorted(path for path, _, _ in bucket.requests) == sorted(FILES)


def test_a_lock_held_too_long_is_an_error(tmp_path):
    options = dataclasses.replace(FAST, lock_timeout_seconds=0.3)
    with (
        filelock.FileLock(tmp_path / "mt3.lock"),
        serve(FILES) as bucket,
        pytest.raises(DownloadError, match="another download has held"),
    ):
        download.download_model(bucket.entry(), tmp_path, options=options)


def test_a_killed_download_is_resumed_by_the_next(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from mt3_model.checkpoint import download, manifest
        entry = manifest.read_entry("mt3", Path(sys.argv[1]))
        download.download_model(entry, Path(sys.argv[2]))
        """
    )
    files = FILES | {"target.b/0.0": LARGE[::-1] * 4}
    with serve(files) as bucket:
        bucket.block_seconds = 0.02
        manifest = tmp_path / "manifest.toml"
        manifest.write_text(manifest_text(bucket.entry()))
        process = subprocess.Popen([sys.executable, "-c", program, manifest, tmp_path / "cache"])
        part = tmp_path / "cache" / "mt3.partial" / "target.b" / "0.0.part"
        wait_until(lambda: part.exists() and part.stat().st_size >= 8192)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "cache" / "mt3").exists()
        kept = part.stat().st_size
        bucket.block_seconds = 0.0
        bucket.requests.clear()
        folder = download.download_model(bucket.entry(), tmp_path / "cache", options=FAST)
        assert contents(folder) == files
        assert asked_ranges(bucket, "target.b/0.0") == [f"bytes={kept}-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the system's always-full device")
def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    def open_full_device(_):
        return Path("/dev/full").open("ab")

    monkeypatch.setattr(partial_file.PartialFile, "append", open_full_device)
    with serve(FILES) as bucket, pytest.raises(DownloadError, match="disk is full"):
        fetch(bucket, tmp_path)


def test_a_disk_that_is_too_small_is_reported_before_the_download(tmp_path):
    with serve(FILES) as bucket:
        entry = bucket.entry()
        vast = dataclasses.replace(entry.files[0], bytes=1 << 60)
        with pytest.raises(DownloadError, match="MB free; the download needs"):
            download.download_model(
                dataclasses.replace(entry, files=(vast,)), tmp_path, options=FAST
            )
        assert not bucket.requests


def test_a_destination_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with serve(FILES) as bucket, pytest.raises(DownloadError, match="file"):
        fetch(bucket, tmp_path / "file" / "below")


def test_an_empty_file_is_fetched(tmp_path):
    with serve(FILES | {"empty": b""}) as bucket:
        assert contents(fetch(bucket, tmp_path))["empty"] == b""


def test_canceling_ends_a_wait(tmp_path):
    stop = threading.Event()
    patient = dataclasses.replace(FAST, initial_backoff_seconds=60.0, max_backoff_seconds=60.0)
    with serve(FILES, checkpoint=[status(500)]) as bucket, download.open_client(patient) as client:
        fetcher = fetching.FileFetcher(
            client=client, options=patient, stop=stop, add_progress=lambda _: None
        )
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(fetching.CanceledError):
            fetcher.fetch(
                bucket.entry().base_url + "checkpoint", bucket.entry().files[0], tmp_path / "x"
            )


def manifest_text(entry):
    files = "".join(
        f'  {{ path = "{file.path}", bytes = {file.bytes}, sha256 = "{file.sha256}" }},\n'
        for file in entry.files
    )
    return (
        f'format_version = 1\n[models.mt3]\nspec = "mt3"\ndescription = ""\n'
        f'base_url = "{entry.base_url}"\nlisting_url = ""\nfiles = [\n{files}]\n'
    )
