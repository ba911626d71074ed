"""Download a model's checkpoint folder, completely or not at all.

All files are written to `<name>.partial/`, which is renamed when every file is verified, so a
folder with the model's name is always complete. An interrupted download leaves the partial folder,
and the next one resumes it. Two processes that download the same model take turns with a lock
file: the second waits and finds the finished folder. The lock is the operating system's (flock),
so it is free again when a process is killed, and it works on shared file systems such as NFS.
"""

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Callable, Generator
from concurrent import futures
from pathlib import Path
from urllib.parse import quote

import filelock
import httpx2

from mt3_model.checkpoint import bucket_listing
from mt3_model.checkpoint.fetching import CanceledError, FetchOptions, FileFetcher
from mt3_model.checkpoint.manifest import ManifestEntry, ManifestFile
from mt3_model.checkpoint.partial_file import checksum_file, wrap_disk_errors
from mt3_model.errors import DownloadError, DownloadInterruptedError

Progress = Callable[[int, int], None]
"""Called with (bytes done, total bytes), from several threads but never at the same time."""

_LOCK_POLL_SECONDS = 0.2


def open_client(options: FetchOptions) -> httpx2.Client:
    """Open an HTTP client with the timeouts of the options.

    TLS certificates are verified, and proxies are read from the environment.
    """
    timeout = httpx2.Timeout(
        options.read_timeout_seconds, connect=options.connect_timeout_seconds, pool=None
    )
    limits = httpx2.Limits(max_connections=options.connections)
    return httpx2.Client(timeout=timeout, limits=limits, follow_redirects=True)


def download_model(
    entry: ManifestEntry,
    destination_folder: Path,
    *,
    progress: Progress | None = None,
    base_url: str | None = None,
    options: FetchOptions | None = None,
) -> Path:
    """Download one model to `destination_folder/<name>`, or verify it if it is already there.

    Args:
        entry: The manifest entry of the model.
        destination_folder: The folder of the model folders; created if it does not exist.
        progress: Called whenever bytes have been downloaded.
        base_url: A mirror of the entry's `base_url` with the same files.
        options: Retries, timeouts and the number of connections.

    Returns:
        The model's folder, with every file verified.

    Raises:
        DownloadError: The download failed; the message names the file or the cause. Complete files
            are kept for the next attempt.
    """
    options = options or FetchOptions()
    folder = destination_folder / entry.name
    with wrap_disk_errors(destination_folder):
        destination_folder.mkdir(parents=True, exist_ok=True)
    lock_file = destination_folder / f"{entry.name}.lock"
    with _lock(lock_file, options.lock_timeout_seconds), open_client(options) as client:
        if folder.exists():
            verify_model(entry, folder)
            return folder
        checksums_file = destination_folder / f"{entry.name}.sha256sums"
        files = entry.files or _list_files(client, entry, checksums_file)
        download = _Download(
            files=files,
            base_url=base_url or entry.base_url,
            folder=destination_folder / f"{entry.name}.partial",
            progress=progress,
            options=options,
            client=client,
        )
        checksums = download.run()
        with wrap_disk_errors(folder):
            if not entry.files:
                bucket_listing.write_checksums(checksums_file, checksums)
            _remove_unlisted_files(download.folder, files)
            download.folder.rename(folder)
    return folder


def verify_model(entry: ManifestEntry, folder: Path) -> None:
    """Compare every file of a finished folder with its sha256.

    The checksums come from the manifest or, for a model without them, from the record of the
    download.

    Raises:
        DownloadError: A file is missing or differs, or there are no checksums.
    """
    checksums_file = folder.with_name(f"{folder.name}.sha256sums")
    expected = {file.path: file.sha256 for file in entry.files}
    expected = expected or bucket_listing.read_checksums(checksums_file)
    if not expected:
        raise DownloadError(
            f"{folder} cannot be verified: the manifest has no checksums for {entry.name} and there"
            f" is no {checksums_file}. Remove the folder and download it again"
        )
    for path, sha256 in expected.items():
        found = checksum_file(folder / path).sha256 if (folder / path).is_file() else None
        if found != sha256:
            raise DownloadError(
                f"{folder / path} has sha256 {found}; expected {sha256}. {folder} is not a complete"
                f" {entry.name} checkpoint: remove it and download it again"
            )


@contextlib.contextmanager
def _lock(file: Path, timeout_seconds: float) -> Generator[None]:
    """Hold a lock between processes; wait for another process up to the timeout.

    Raises:
        DownloadInterruptedError: Another process holds the lock for longer than the timeout.
        DownloadError: The lock file cannot be opened.
    """
    # A soft lock would survive a killed process, so a file system without flock is an error.
    lock = filelock.FileLock(file, poll_interval=_LOCK_POLL_SECONDS, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout_seconds)
    except filelock.Timeout as error:
        raise DownloadInterruptedError(
            f"another download has held {file} for more than {timeout_seconds:.0f} s. Wait for "
            "it, or stop it"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{file} cannot be locked ({error}); choose a folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Download:
    files: tuple[ManifestFile, ...]
    base_url: str
    folder: Path
    progress: Progress | None
    options: FetchOptions
    client: httpx2.Client

    def run(self) -> dict[str, str]:
        """Download all files, several at a time, and return the sha256 of each path."""
        self._check_disk_space()
        stop = threading.Event()
        fetcher = FileFetcher(
            client=self.client,
            options=self.options,
            stop=stop,
            add_progress=_progress_adder(self.progress, sum(file.bytes for file in self.files)),
        )
        # The largest first, so that the download does not end with one large file.
        largest_first = sorted(self.files, key=lambda file: -file.bytes)
        with futures.ThreadPoolExecutor(self.options.connections) as threads:
            running = {
                threads.submit(
                    fetcher.fetch,
                    self.base_url + quote(file.path),
                    file,
                    self.folder / file.path,
                ): file
                for file in largest_first
            }
            try:
                return _first_failure_or_all(running)
            finally:
                stop.set()
                for future in running:
                    future.cancel()

    def _check_disk_space(self) -> None:
        with wrap_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        present = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        missing = sum(file.bytes for file in self.files) - present
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise DownloadError(
                f"{self.folder.parent} has {free / 1e6:.0f} MB free; the download needs "
                f"{missing / 1e6:.0f} MB more. Free some space, or choose another folder"
            )


def _first_failure_or_all(running: dict["futures.Future[str]", ManifestFile]) -> dict[str, str]:
    done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
    for future in done:
        error = future.exception()
        if error is not None and not isinstance(error, CanceledError):
            raise error
    return {file.path: future.result() for future, file in running.items()}


def _progress_adder(progress: Progress | None, total: int) -> Callable[[int], None]:
    lock = threading.Lock()
    done = 0

    def add(gained: int) -> None:
        nonlocal done
        with lock:
            done += gained
            if progress is not None and gained:
                progress(done, total)

    return add


def _list_files(
    client: httpx2.Client, entry: ManifestEntry, checksums_file: Path
) -> tuple[ManifestFile, ...]:
    """List the bucket's files, with the sha256 recorded by an earlier download if there was one."""
    recorded = bucket_listing.read_checksums(checksums_file)
    return tuple(
        dataclasses.replace(file, sha256=recorded.get(file.path))
        for file in bucket_listing.list_files(client, entry)
    )


def _remove_unlisted_files(partial: Path, files: tuple[ManifestFile, ...]) -> None:
    """Remove files that an earlier version of the file list left in the partial folder."""
    wanted = {partial / file.path for file in files}
    for found in partial.rglob("*"):
        if found.is_file() and found not in wanted:
            found.unlink()
