"""A manifest entry -> a model's folder on disk, whole or not at all.

All files go to `<name>.partial/` and the folder is renamed when every one of them is verified, so
a folder under the model's name is complete; an interrupted run leaves its partial folder, and the
next one resumes in it. Two processes that want the same model take turns at a lock file: the
second waits and finds the work done.
"""

import dataclasses
import shutil
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from urllib.parse import quote

import httpx

from mt3_model.checkpoint import listing
from mt3_model.checkpoint.fetching import FetchOptions, FileFetcher, StoppedError
from mt3_model.checkpoint.folder_lock import folder_lock
from mt3_model.checkpoint.manifest import ManifestEntry, ManifestFile
from mt3_model.checkpoint.part_file import disk_errors, sum_file
from mt3_model.errors import DownloadError

Progress = Callable[[int, int], None]
"""Told of (bytes done, bytes in all); called from several threads, one at a time."""

ClientFactory = Callable[[FetchOptions], httpx.Client]


def open_client(options: FetchOptions) -> httpx.Client:
    """A client with our timeouts; TLS is verified and proxies come from the environment."""
    timeout = httpx.Timeout(
        options.read_timeout_seconds, connect=options.connect_timeout_seconds, pool=None
    )
    limits = httpx.Limits(max_connections=options.connections)
    return httpx.Client(timeout=timeout, limits=limits, follow_redirects=True)


def download_model(
    entry: ManifestEntry,
    destination_folder: Path,
    *,
    progress: Progress | None = None,
    base_url: str | None = None,
    options: FetchOptions | None = None,
    client_factory: ClientFactory = open_client,
) -> Path:
    """Downloads one model into `destination_folder/<name>`, or finds it there.

    Args:
        entry: What to download.
        destination_folder: Where models' folders lie; made if it is not there.
        progress: Told of every step forward.
        base_url: A mirror of the entry's `base_url`; the files must be the same.
        options: Patience and number of connections.
        client_factory: Makes the HTTP client.

    Returns:
        The model's folder, every file verified.

    Raises:
        DownloadError: The message names the file or the cause. What is whole is kept.
    """
    options = options or FetchOptions()
    folder = destination_folder / entry.name
    with disk_errors(destination_folder):
        destination_folder.mkdir(parents=True, exist_ok=True)
    lock = destination_folder / f"{entry.name}.lock"
    with folder_lock(lock, options.lock_timeout_seconds), client_factory(options) as client:
        if folder.exists():
            verify_model(entry, folder)
            return folder
        sums_file = destination_folder / f"{entry.name}.sha256sums"
        files = entry.files or _list_with_sums(client, entry, sums_file)
        download = _Download(
            files=files,
            base_url=base_url or entry.base_url,
            folder=destination_folder / f"{entry.name}.partial",
            progress=progress,
            options=options,
            client=client,
        )
        sums = download.run()
        with disk_errors(folder):
            if not entry.files:
                listing.write_sums(sums_file, sums)
            _remove_strangers(download.folder, files)
            download.folder.rename(folder)
    return folder


def verify_model(entry: ManifestEntry, folder: Path) -> None:
    """Holds every file of a finished folder against its sha256.

    The sums are the manifest's; for a model without them, those recorded at the download.

    Raises:
        DownloadError: A file is missing or another one, or there are no sums to hold it against.
    """
    sums_file = folder.with_name(f"{folder.name}.sha256sums")
    expected = {file.path: file.sha256 for file in entry.files} or listing.read_sums(sums_file)
    if not expected:
        raise DownloadError(
            f"{folder} cannot be verified: the manifest has no sums for {entry.name} and there is "
            f"no {sums_file}. Remove the folder and download it again"
        )
    for path, sha256 in expected.items():
        found = sum_file(folder / path).sha256 if (folder / path).is_file() else None
        if found != sha256:
            raise DownloadError(
                f"{folder / path} has sha256 {found}; expected {sha256}. {folder} is not a whole "
                f"{entry.name} checkpoint: remove it and download it again"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Download:
    files: tuple[ManifestFile, ...]
    base_url: str
    folder: Path
    progress: Progress | None
    options: FetchOptions
    client: httpx.Client

    def run(self) -> dict[str, str]:
        """Fetches every file, several at once; path -> sha256."""
        self._refuse_small_disk()
        stop = threading.Event()
        fetcher = FileFetcher(
            client=self.client,
            options=self.options,
            stop=stop,
            add_progress=_progress_adder(self.progress, sum(file.bytes for file in self.files)),
        )
        # The largest first: the end of a download is then many small files, not one large one.
        queue = sorted(self.files, key=lambda file: -file.bytes)
        with futures.ThreadPoolExecutor(self.options.connections) as threads:
            running = {
                threads.submit(
                    fetcher.fetch,
                    self.base_url + quote(file.path),
                    file,
                    self.folder / file.path,
                ): file
                for file in queue
            }
            try:
                return _first_failure_or_all(running)
            finally:
                stop.set()
                for future in running:
                    future.cancel()

    def _refuse_small_disk(self) -> None:
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        here = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        missing = sum(file.bytes for file in self.files) - here
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise DownloadError(
                f"{self.folder.parent} has {free / 1e6:.0f} MB free; the download needs "
                f"{missing / 1e6:.0f} MB more. Make room, or choose another folder"
            )


def _first_failure_or_all(running: dict["futures.Future[str]", ManifestFile]) -> dict[str, str]:
    done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
    for future in done:
        error = future.exception()
        if error is not None and not isinstance(error, StoppedError):
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


def _list_with_sums(
    client: httpx.Client, entry: ManifestEntry, sums_file: Path
) -> tuple[ManifestFile, ...]:
    """The bucket's files, held to the sha256 of an earlier download where there was one."""
    recorded = listing.read_sums(sums_file)
    return tuple(
        dataclasses.replace(file, sha256=recorded.get(file.path))
        for file in listing.list_files(client, entry)
    )


def _remove_strangers(partial: Path, files: tuple[ManifestFile, ...]) -> None:
    """Removes what an earlier version of the file list left behind."""
    wanted = {partial / file.path for file in files}
    for found in partial.rglob("*"):
        if found.is_file() and found not in wanted:
            found.unlink()
