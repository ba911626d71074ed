"""Download one file with resume, retries and verification.

A file is written to `<name>.part` and renamed only when its size and checksum are as expected, so a
file under its final name is always complete. The partial file is kept after every failure except a
wrong checksum. The next attempt requests the rest with `Range` and `If-Range`, so that a server
whose file has changed sends all of it again. Only consecutive attempts without progress count
towards the limit of attempts.
"""

import contextlib
import dataclasses
import email.utils
import random
import threading
import time
from collections.abc import Callable, Generator
from http import HTTPStatus
from pathlib import Path
from typing import IO

import httpx2

from mt3_model.checkpoint.manifest import ManifestFile
from mt3_model.checkpoint.partial_file import (
    Checksums,
    PartialFile,
    checksum_file,
    wrap_disk_errors,
)
from mt3_model.errors import DownloadError, DownloadInterruptedError

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FetchOptions:
    """Connections, timeouts and retries of a download."""

    connections: int = 8
    """The number of files downloaded at the same time."""
    max_attempts: int = 6
    """Consecutive attempts without a new byte before the download fails."""
    max_unreachable_attempts: int = 3
    """The same if the server cannot be reached: without a network, more waiting does not help."""
    connect_timeout_seconds: float = 15.0
    read_timeout_seconds: float = 30.0
    """The longest time without a byte during a transfer."""
    initial_backoff_seconds: float = 0.5
    """The wait before the second attempt. It doubles with each attempt; jitter multiplies it by
    0.5 to 1.5."""
    max_backoff_seconds: float = 30.0
    """The longest wait, before jitter."""
    max_retry_after_seconds: float = 300.0
    """The longest ``Retry-After`` to obey; a longer one ends the download."""
    lock_timeout_seconds: float = 3_600.0
    """The longest wait for another process that downloads the same model."""


class CanceledError(Exception):
    """The transfer was canceled because another file of the same download failed."""


class _RetryableError(Exception):
    """A temporary failure, with the server's ``Retry-After`` if it sent one."""

    def __init__(
        self,
        reason: str,
        retry_after_seconds: float | None = None,
        *,
        is_unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds
        self.is_unreachable = is_unreachable


class _WrongContentError(Exception):
    """A complete file with the wrong size or checksum."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileFetcher:
    """Downloads the files of one model over one HTTP client."""

    client: httpx2.Client
    options: FetchOptions
    stop: threading.Event
    """Set to cancel the download: waits end and transfers stop."""
    add_progress: Callable[[int], None]
    """Called with the number of new bytes; negative if counted bytes were discarded."""

    def fetch(self, url: str, expected: ManifestFile, target: Path) -> str:
        """Download one file to `target` and return its sha256.

        Raises:
            DownloadError: The server refuses, does not answer or sends a different file, or the
                disk is full. The message names the file and, for a checksum, both values.
        """
        with wrap_disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._reuse_existing(expected, target) or self._fetch_all(url, expected, target)

    def _fetch_all(self, url: str, expected: ManifestFile, target: Path) -> str:
        part = PartialFile(target)
        failures, wrong_files, best_size = 0, 0, 0
        while True:
            try:
                return self._attempt(url, expected, part)
            except _WrongContentError as error:
                wrong_files += 1
                self.add_progress(-part.size)
                part.remove()
                if wrong_files > 1:
                    raise DownloadError(
                        f"{url} was sent twice with the wrong content: {error}. The file at the "
                        "source is not the one described by this manifest; nothing of it was kept"
                    ) from error
            except _RetryableError as error:
                failures = 1 if part.size > best_size else failures + 1
                best_size = max(best_size, part.size)
                if failures >= self._max_attempts(error, part):
                    raise DownloadInterruptedError(
                        f"{url} failed {failures} times in a row; the last time: {error}. "
                        "Everything received correctly was kept: try again to resume"
                    ) from error
                self._wait(failures, error.retry_after_seconds, url)

    def _max_attempts(self, error: _RetryableError, part: PartialFile) -> int:
        """Return how many consecutive attempts may fail; more once a transfer has begun."""
        if error.is_unreachable and part.size == 0:
            return min(self.options.max_unreachable_attempts, self.options.max_attempts)
        return self.options.max_attempts

    def _reuse_existing(self, expected: ManifestFile, target: Path) -> str | None:
        """Return the sha256 of a file from an earlier run; delete the file if it is wrong."""
        if not target.is_file():
            return None
        checksums = checksum_file(target)
        if checksums.mismatch(expected) is None:
            self.add_progress(checksums.size)
            return checksums.sha256
        target.unlink()
        return None

    def _attempt(self, url: str, expected: ManifestFile, part: PartialFile) -> str:
        checksums = part.resume(expected.bytes)
        self.add_progress(part.take_uncounted_bytes())
        if part.size < expected.bytes or expected.bytes == 0:
            self._transfer(url, expected, part, checksums)
        mismatch = checksums.mismatch(expected)
        if mismatch is not None:
            raise _WrongContentError(mismatch)
        part.finish()
        return checksums.sha256

    def _transfer(
        self, url: str, expected: ManifestFile, part: PartialFile, checksums: Checksums
    ) -> None:
        # The checksums cover the stored bytes, so the transfer must not be compressed.
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.etag:
                headers["If-Range"] = part.etag
        with _wrap_network_errors(url), self.client.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.add_progress(-part.size)
                part.remove()
                raise _RetryableError("the server no longer has the rest of the file (416)")
            _check_status(response, url)
            if not _continues(response, part.size):
                self.add_progress(-part.size)
                part.remove()
                checksums.clear()
            part.etag = response.headers.get("ETag")
            with part.append() as stream:
                # Without a block size, which would buffer bytes that an interruption then loses.
                for block in response.iter_raw():
                    self._write_block(block, expected, part, stream, checksums)
        if part.size < expected.bytes:
            raise _RetryableError(f"the transfer ended after {part.size} of {expected.bytes} bytes")

    def _write_block(
        self,
        block: bytes,
        expected: ManifestFile,
        part: PartialFile,
        stream: IO[bytes],
        checksums: Checksums,
    ) -> None:
        if self.stop.is_set():
            raise CanceledError
        if part.size + len(block) > expected.bytes:
            raise _WrongContentError(f"found more than the expected {expected.bytes} bytes")
        stream.write(block)
        checksums.update(block)
        part.size += len(block)
        self.add_progress(len(block))

    def _wait(self, failures: int, retry_after_seconds: float | None, url: str) -> None:
        options = self.options
        if (retry_after_seconds or 0) > options.max_retry_after_seconds:
            raise DownloadInterruptedError(
                f"{url}: the server asks to wait {retry_after_seconds:.0f} s, more than the limit"
                f" of {options.max_retry_after_seconds:.0f} s. Try again later to resume"
            )
        backoff = options.initial_backoff_seconds * 2 ** (failures - 1)
        jittered = min(backoff, options.max_backoff_seconds) * random.uniform(0.5, 1.5)  # noqa: S311
        if self.stop.wait(max(jittered, retry_after_seconds or 0)):
            raise CanceledError


def _continues(response: httpx2.Response, size: int) -> bool:
    """Return whether the body continues at byte `size`; otherwise it is the whole file."""
    if size == 0:
        return True
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return False
    if response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        return True
    raise _WrongContentError(
        f"requested the bytes from {size}, got {response.headers.get('Content-Range')!r}"
    )


def _check_status(response: httpx2.Response, url: str) -> None:
    if response.status_code in _RETRIED_STATUSES:
        raise _RetryableError(
            f"the server answered {response.status_code}",
            _read_retry_after(response.headers.get("Retry-After")),
        )
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(
            f"{url}: the server answered {response.status_code}; expected the file. Check the "
            "address and the network's proxy, or fetch the files by hand (checkpoints/README.md)"
        )


def _read_retry_after(text: str | None) -> float | None:
    """Parse ``Retry-After``, a number of seconds or an HTTP date, as seconds from now."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


@contextlib.contextmanager
def _wrap_network_errors(url: str) -> Generator[None]:
    try:
        yield
    except httpx2.ReadTimeout as error:
        raise _RetryableError("the server stopped sending in the middle of the file") from error
    except httpx2.UnsupportedProtocol as error:
        raise DownloadError(f"{url}: {error}. Expected an https:// address") from error
    except httpx2.RequestError as error:
        raise _RetryableError(
            f"{type(error).__name__}: {error}",
            is_unreachable=isinstance(error, httpx2.ConnectError),
        ) from error
