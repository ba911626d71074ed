"""Download objects that a caller names (``s3://bucket/key``).

They are read with the deployment's own credentials, so only from locations that the deployment
allows: otherwise a caller could read every bucket that the deployment can read. A location is a
prefix that ends at a slash; the rest of a reference is the key, unchanged. Nothing is decoded or
normalized, and references that could be read in two ways (``..``, ``%2e``) are refused.

`ObjectFetcher.fetch` is a `Fetch` of `service/item_processing.py`, with the error codes of
`url_fetcher.py`.
"""

import asyncio
import dataclasses
import errno
import logging
import os
import re
from pathlib import Path

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore

from mt3_model.errors import OptionError
from service.errors import ItemError, StorageError
from service.fetching.minimum_rate import least_rate
from service.observability.logging import log_event
from service.storage.objects import open_store

LONGEST_REFERENCE = 2_048
"""Characters: S3's longest key is 1,024 bytes."""
_MOST_KEY_BYTES = 1_024
"""The longest key of S3, Google and Azure, in bytes of UTF-8."""
_MOST_NAME_BYTES = 255
"""The longest name of a file."""
_NO_SUCH_PATH = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EINVAL}
"""Errors of a file system for a path that can never lead to a file."""
_SCHEMES = ("s3", "gs", "az", "file")
_PREFIX = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<rest>[^?#]*)(?P<query>\?[^#]*)?")
_CREDENTIALS = re.compile(r"^(?P<scheme>\w+://)?.*@", re.DOTALL)
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_READ_BYTES = 1 << 14
"""Minimum size of a piece of a download: small, so that a slow store's bytes are counted as they
arrive."""
_GRACE_SECONDS = 10.0
"""Time by which a transfer may be behind the minimum rate."""
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _AllowedPrefix:
    """A prefix below which objects may be read."""

    url: str
    """Options for `open_store`."""
    base: str
    """The prefix of references: without the query, with a slash at its end."""


class ObjectFetcher:
    """Fetches objects: `fetch` is for ``ItemProcessor(fetchers={"object": fetcher.fetch})``.

    The route that accepts jobs calls `check`, to answer 422 at once.
    """

    def __init__(
        self,
        *,
        allowed: str,
        max_bytes: int,
        total_seconds: float = 600.0,
        min_bytes_per_second: float = 16_000.0,
    ) -> None:
        """Prepare; stores are opened when they are first needed.

        Args:
            allowed: locations, separated by commas, that may be read: ``s3://bucket/folder``,
                ``gs://``, ``az://`` and ``file:///folder``; for S3 with ``?endpoint=`` and
                ``&region=`` where needed. Empty: none.
            max_bytes: the largest recording.
            total_seconds: the longest time for one recording.
            min_bytes_per_second: the lowest mean rate of one recording; 0 for no limit.

        Raises:
            StorageError: a location is malformed; the message names it.
        """
        texts = (text.strip() for text in allowed.split(","))
        self._prefixes = tuple(_parse_prefix(text) for text in texts if text)
        self._max_bytes = max_bytes
        self._total_seconds = total_seconds
        self._min_bytes_per_second = min_bytes_per_second
        self._stores: dict[str, tuple[ObjectStore, Path | None]] = {}

    def check(self, parameter: str, reference: str) -> None:
        """Refuse a reference that `fetch` would refuse by its text alone; contacts no store.

        Args:
            parameter: the field's name, for the error.
            reference: the object's URL of the request.

        Raises:
            OptionError: It is refused; the message says why.
        """
        try:
            self._find(reference)
        except ItemError as error:
            raise OptionError(parameter, f"{parameter}: {error}") from error

    async def fetch(self, reference: str, path: Path) -> None:
        """Copy an object into a file.

        Args:
            reference: the object's URL, such as ``s3://bucket/folder/song.wav``, not
                percent-encoded.
            path: the file, which is overwritten; after an error it may be incomplete.

        Raises:
            ItemError: the object cannot be read, or not now.
            OSError: the file cannot be written.
        """
        prefix, key = self._find(reference)
        try:
            async with asyncio.timeout(self._total_seconds):
                store, folder = await self._open(prefix)
                if folder is not None:
                    await asyncio.to_thread(_require_inside, folder, key)
                await self._copy(store, key, path)
        except FileNotFoundError as error:
            raise ItemError("there is no such object", code="input_not_found") from error
        except InvalidPathError as error:
            raise _refused("the object's key is invalid") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise _refused("this deployment has no permission to read the object") from error
        except TimeoutError as error:
            raise _unreachable("the object's store is too slow") from error
        except OSError as error:
            if error.errno not in _NO_SUCH_PATH:
                raise
            raise ItemError("there is no such object", code="input_not_found") from error
        except (BaseError, StorageError) as error:
            # The library's message names hosts and accounts: it is for operators, not for callers.
            reason = " ".join(str(error).split())[:500]
            log_event(_logger, "input_store_failed", level=logging.WARNING, reason=reason)
            raise _unreachable("the object's store does not answer, or refuses") from error

    async def _copy(self, store: ObjectStore, key: str, path: Path) -> None:
        result = await obstore.get_async(store, key)
        if result.meta["size"] > self._max_bytes:
            raise self._too_large()
        count = 0
        with await asyncio.to_thread(path.open, "wb") as file:
            async with least_rate(self._min_bytes_per_second, _GRACE_SECONDS) as rate:
                async for piece in result.stream(min_chunk_size=_READ_BYTES):
                    rate.count(len(piece))
                    count += len(piece)
                    if count > self._max_bytes:
                        raise self._too_large()
                    with rate.storing():
                        await asyncio.to_thread(file.write, piece)

    async def _open(self, prefix: _AllowedPrefix) -> tuple[ObjectStore, Path | None]:
        if prefix.url not in self._stores:
            self._stores[prefix.url] = await asyncio.to_thread(open_store, prefix.url)
        return self._stores[prefix.url]

    def _find(self, reference: str) -> tuple[_AllowedPrefix, str]:
        if len(reference) > LONGEST_REFERENCE or not reference.isprintable():
            raise _refused("the object's name is too long, or contains unprintable characters")
        for prefix in self._prefixes:
            if reference.startswith(prefix.base):
                key = reference[len(prefix.base) :]
                _check_key(key, is_file=prefix.base.startswith("file:"))
                return prefix, key
        raise _refused("the object is in no location that this deployment may read")

    def _too_large(self) -> ItemError:
        return ItemError(
            f"the recording is larger than {self._max_bytes} bytes", code="input_too_large"
        )


def _parse_prefix(text: str) -> _AllowedPrefix:
    match = _PREFIX.fullmatch(text)
    shown = _CREDENTIALS.sub(r"\g<scheme>****@", text)
    if match is None or match["scheme"] not in _SCHEMES:
        raise StorageError(
            f"{shown!r} is not a location; expected {', '.join(s + '://' for s in _SCHEMES)}"
        )
    rest = match["rest"].rstrip("/")
    within = rest.removeprefix("/") if match["scheme"] == "file" else rest
    is_rooted = match["scheme"] != "file" or rest.startswith("/")
    if not is_rooted or "@" in within or not _is_plain(within):
        raise StorageError(
            f"{shown!r} is not a location; expected a bucket, or a folder of one, without"
            " credentials, '..' or percent-encoding"
        )
    plain = f"{match['scheme']}://{rest}"
    return _AllowedPrefix(url=plain + (match["query"] or ""), base=plain + "/")


def _check_key(key: str, *, is_file: bool) -> None:
    sizes = [len(part.encode("utf-8", "replace")) for part in key.split("/")]
    if sum(sizes) + len(sizes) - 1 > _MOST_KEY_BYTES:
        raise _refused(f"the object's key is longer than {_MOST_KEY_BYTES:,} bytes")
    if is_file and max(sizes) > _MOST_NAME_BYTES:
        raise _refused(f"a name in the object's key is longer than {_MOST_NAME_BYTES} bytes")
    if not _is_plain(key):
        raise _refused(
            "the object's key has an empty part, '.', '..', a backslash or percent-encoding;"
            " expected the literal key"
        )


def _is_plain(path: str) -> bool:
    if "\\" in path or _ENCODED.search(path):
        return False
    return all(part not in {"", ".", ".."} for part in path.split("/"))


def _require_inside(folder: Path, key: str) -> None:
    """Refuse a link that leads out of an allowed folder, and anything but a plain file."""
    # Unlike `resolve`, it does not raise for a loop of links.
    found = Path(os.path.realpath(folder / key))
    if not found.is_relative_to(folder.resolve()):
        raise _refused("the object is in no location that this deployment may read")
    if not found.is_file():
        raise FileNotFoundError(key)


def _refused(message: str) -> ItemError:
    return ItemError(message, code="input_refused")


def _unreachable(message: str) -> ItemError:
    return ItemError(message, code="input_unreachable", is_transient=True)
