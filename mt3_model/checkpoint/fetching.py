"""One URL -> one whole, verified file: resumed, retried, summed while it streams.

A file grows as `<name>.part` and takes its name only when its size and sum are those expected, so
a file under its own name is always whole. What is there of a part is kept on every failure but a
wrong sum, and the next try asks for the rest with `Range` and `If-Range`, which makes a server
whose file has changed send it all again. A try that moved bytes forward does not count: only tries
in a row without progress use up the patience.
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

import httpx

from mt3_model.checkpoint.manifest import ManifestFile
from mt3_model.checkpoint.part_file import PartFile, RunningSums, disk_errors, sum_file
from mt3_model.errors import DownloadError, DownloadInterruptedError

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FetchOptions:
    """How patient a download is."""

    connections: int = 8
    """Files under way at once."""
    tries: int = 6
    """Tries in a row without one new byte before giving up."""
    unreachable_tries: int = 3
    """Likewise where the server could not be reached at all: without a network, waiting is idle."""
    connect_timeout_seconds: float = 15.0
    read_timeout_seconds: float = 30.0
    """The longest silence within a transfer: a stall ends the try."""
    first_backoff_seconds: float = 0.5
    """Doubled at each further try, with jitter of half to one and a half times."""
    longest_backoff_seconds: float = 30.0
    longest_retry_after_seconds: float = 300.0
    """A server that asks for a longer wait ends the download with what it asked for."""
    lock_timeout_seconds: float = 3_600.0
    """How long to wait for another process that downloads the same model."""


class StoppedError(Exception):
    """Another file of the same download has failed: this one need not go on."""


class _RetryableError(Exception):
    """A failure of the moment, with the wait that the server asked for, if it did."""

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
    """A whole file that is another one than expected."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileFetcher:
    """Fetches files of one download over one client."""

    client: httpx.Client
    options: FetchOptions
    stop: threading.Event
    """Set when the download is to end: waits return and transfers break off."""
    add_progress: Callable[[int], None]
    """Told of bytes gained; negative where bytes already counted were thrown away."""

    def fetch(self, url: str, expected: ManifestFile, target: Path) -> str:
        """Fetches one file to `target` and returns its sha256.

        Raises:
            DownloadError: The server refuses, stays silent, or sends another file; the disk is
                full. The message names the file, and for a sum, both.
        """
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._adopt_whole(expected, target) or self._fetch_all(url, expected, target)

    def _fetch_all(self, url: str, expected: ManifestFile, target: Path) -> str:
        part = PartFile(target)
        failures, wrong, furthest = 0, 0, 0
        while True:
            try:
                return self._try_once(url, expected, part)
            except _WrongContentError as error:
                wrong += 1
                self.add_progress(-part.size)
                part.remove()
                if wrong > 1:
                    raise DownloadError(
                        f"{url} was sent twice with the wrong content: {error}. The file at the "
                        "source is not the one this manifest describes; nothing of it was kept"
                    ) from error
            except _RetryableError as error:
                failures = 1 if part.size > furthest else failures + 1
                furthest = max(furthest, part.size)
                if failures >= self._patience(error, part):
                    raise DownloadInterruptedError(
                        f"{url} failed {failures} times in a row; the last time: {error}. "
                        "What is whole was kept: try again to resume"
                    ) from error
                self._wait(failures, error.retry_after_seconds, url)

    def _patience(self, error: _RetryableError, part: PartFile) -> int:
        """Tries in a row that may fail; a download under way is worth a longer wait."""
        if error.is_unreachable and part.size == 0:
            return min(self.options.unreachable_tries, self.options.tries)
        return self.options.tries

    def _adopt_whole(self, expected: ManifestFile, target: Path) -> str | None:
        """The sha256 of a file that an earlier run finished; None, and no file, if it is wrong."""
        if not target.is_file():
            return None
        sums = sum_file(target)
        if sums.difference(expected) is None:
            self.add_progress(sums.size)
            return sums.sha256
        target.unlink()
        return None

    def _try_once(self, url: str, expected: ManifestFile, part: PartFile) -> str:
        sums = part.resume(expected.bytes)
        self.add_progress(part.take_uncounted())
        if part.size < expected.bytes or expected.bytes == 0:
            self._transfer(url, expected, part, sums)
        difference = sums.difference(expected)
        if difference is not None:
            raise _WrongContentError(difference)
        part.finish()
        return sums.sha256

    def _transfer(
        self, url: str, expected: ManifestFile, part: PartFile, sums: RunningSums
    ) -> None:
        # The sums are of the stored bytes: no encoding on the way.
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.etag:
                headers["If-Range"] = part.etag
        with _network_errors(url), self.client.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.add_progress(-part.size)
                part.remove()
                raise _RetryableError("the server no longer has the rest of the file (416)")
            _check_status(response, url)
            if not _continues(response, part.size):
                self.add_progress(-part.size)
                part.remove()
                sums.clear()
            part.etag = response.headers.get("ETag")
            with part.append() as stream:
                # As they come: a block size would hold bytes back, and a broken-off transfer
                # would lose them.
                for block in response.iter_raw():
                    self._keep_block(block, expected, part, stream, sums)
        if part.size < expected.bytes:
            raise _RetryableError(f"the transfer ended after {part.size} of {expected.bytes} bytes")

    def _keep_block(
        self,
        block: bytes,
        expected: ManifestFile,
        part: PartFile,
        stream: IO[bytes],
        sums: RunningSums,
    ) -> None:
        if self.stop.is_set():
            raise StoppedError
        if part.size + len(block) > expected.bytes:
            raise _WrongContentError(f"found more than the expected {expected.bytes} bytes")
        stream.write(block)
        sums.update(block)
        part.size += len(block)
        self.add_progress(len(block))

    def _wait(self, failures: int, retry_after_seconds: float | None, url: str) -> None:
        options = self.options
        if (retry_after_seconds or 0) > options.longest_retry_after_seconds:
            raise DownloadInterruptedError(
                f"{url}: the server asks to wait {retry_after_seconds:.0f} s; at most "
                f"{options.longest_retry_after_seconds:.0f} s is waited. Try again later to resume"
            )
        backoff = options.first_backoff_seconds * 2 ** (failures - 1)
        jittered = min(backoff, options.longest_backoff_seconds) * random.uniform(0.5, 1.5)  # noqa: S311
        if self.stop.wait(max(jittered, retry_after_seconds or 0)):
            raise StoppedError


def _continues(response: httpx.Response, size: int) -> bool:
    """Whether the body goes on at byte `size`; else it is the whole file (or must be asked so)."""
    if size == 0:
        return True
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return False
    if response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        return True
    raise _WrongContentError(
        f"asked for the bytes from {size}, got {response.headers.get('Content-Range')!r}"
    )


def _check_status(response: httpx.Response, url: str) -> None:
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
    """Seconds or an HTTP date -> seconds from now."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


@contextlib.contextmanager
def _network_errors(url: str) -> Generator[None]:
    try:
        yield
    except httpx.ReadTimeout as error:
        raise _RetryableError("the server fell silent in the middle of the file") from error
    except httpx.UnsupportedProtocol as error:
        raise DownloadError(f"{url}: {error}. Expected an https:// address") from error
    except httpx.RequestError as error:
        raise _RetryableError(
            f"{type(error).__name__}: {error}", is_unreachable=isinstance(error, httpx.ConnectError)
        ) from error
