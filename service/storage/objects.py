"""Object storage for recordings and results: a local folder, S3, GCS or Azure, by URL.

    file:///var/lib/mt3/objects                     a local folder
    s3://bucket/prefix?endpoint=http://host:9000    S3 and compatible stores
    gs://bucket/prefix, az://container/prefix       GCS; Azure, account from the environment
    abfss://container@account.dfs.core.windows.net/prefix    Azure, with the account

obstore does the transport, with its own retries. Credentials come from the environment, as each
cloud's tools read them, and never from the URL. Keys are made from a job's id and an item's number,
never from a caller's text. (Only `service/bulk` uses keys that it found.)

An object is complete or absent. A cloud shows an object once its upload is complete. A local object
is written under ``tmp/``, flushed to disk (fsync) and renamed to its key, so that neither a killed
process nor a power failure leaves a partial object.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import os
import re
import shutil
import urllib.parse
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from service.errors import (
    StorageError,
    StorageFullError,
    StorageNotFoundError,
    StorageUnavailableError,
)
from service.observability.logging import log_event

if TYPE_CHECKING:
    from obstore import ObjectMeta  # of its stubs alone

TEMPORARY_PREFIX = "tmp"
"""Folder of local objects being written; the sweep removes those of a killed process."""
_KEY = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")
_READ_BYTES = 1 << 20
_DELETED_AT_ONCE = 1_000
"""Maximum number of keys in one request to S3."""
_MOST_RETRIES = 3
"""Retries of one request by obstore, within seconds; longer waits belong to the job queue."""
_RETRY_SECONDS = 20
_logger = logging.getLogger(__name__)
# Messages of object_store when the disk or a cloud's quota is full.
_FULL = re.compile(r"os error 28\b|os error 122\b|No space left|QuotaExceeded|StorageFull")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object in a listing."""

    key: str
    size_bytes: int
    modified_at: float
    """Seconds since 1970 (UTC), on the store's clock."""


class Objects:
    """The objects of one deployment; safe for concurrent use."""

    def __init__(self, store: ObjectStore, folder: Path | None, *, any_key: bool = False) -> None:
        """Wrap a store; `open_objects` opens one by URL.

        Args:
            store: the obstore store.
            folder: its local folder, if it is one.
            any_key: accept keys made elsewhere, as in a listing.
        """
        self._store = store
        self._folder = folder
        self._any_key = any_key

    async def put(self, key: str, content: bytes | Path) -> None:
        """Write or replace an object atomically.

        Args:
            key: the object's key.
            content: the bytes, or a file, which is read in pieces.

        Raises:
            StorageFullError: no space; nothing is left behind.
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        with _translated(key):
            if self._folder is None:
                await obstore.put_async(self._store, key, content)
            else:
                await self._put_locally(key, content, self._folder)

    async def get(self, key: str) -> bytes:
        """Read a whole object.

        Raises:
            StorageNotFoundError: there is no such object.
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        with _translated(key):
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())

    async def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a file, in pieces.

        Raises:
            StorageNotFoundError: there is no such object.
            StorageFullError: no room for the file.
            StorageUnavailableError: the store does not answer, or refuses.
        """
        _, pieces = await self.open(key)
        async with contextlib.aclosing(pieces):
            with _translated(key), await asyncio.to_thread(path.open, "wb") as file:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)

    async def open(self, key: str) -> tuple[int, AsyncGenerator[bytes]]:
        """Return an object's size in bytes, and its content in pieces.

        Raises:
            StorageNotFoundError: there is no such object.
            StorageUnavailableError: the store does not answer, or refuses; also while reading.
        """
        self._check(key)
        with _translated(key):
            result = await obstore.get_async(self._store, key)

        async def pieces() -> AsyncGenerator[bytes]:
            with _translated(key):
                async for piece in result.stream(min_chunk_size=_READ_BYTES):
                    yield bytes(piece)

        return result.meta["size"], pieces()

    async def exists(self, key: str) -> bool:
        """Return whether an object exists.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        try:
            with _translated(key):
                await obstore.head_async(self._store, key)
        except StorageNotFoundError:
            return False
        return True

    async def list_prefix(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix`` and a slash, in no order.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(prefix)
        with _translated(prefix):
            async for chunk in obstore.list(self._store, prefix or None):
                for meta in chunk:
                    yield _stored(meta)

    def iterate(self) -> Iterator[StoredObject]:
        """Yield all objects, a page at a time, in no order; blocks.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        try:
            for chunk in obstore.list(self._store):
                yield from map(_stored, chunk)
        except (BaseError, OSError) as error:
            raise _unavailable("the listing", error) from error

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        with contextlib.suppress(StorageNotFoundError), _translated(key):
            await obstore.delete_async(self._store, key)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose keys begin with ``prefix`` and a slash; return their number.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        keys = [found.key async for found in self.list_prefix(prefix)]
        with _translated(prefix):
            for begin in range(0, len(keys), _DELETED_AT_ONCE):
                # Another process may delete the same objects.
                with contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, keys[begin : begin + _DELETED_AT_ONCE])
            if self._folder is not None:
                # Also empty folders, and the remains of an interrupted deletion.
                await asyncio.to_thread(shutil.rmtree, self._folder / prefix, ignore_errors=True)
        return len(keys)

    def read_now(self, key: str) -> bytes | None:
        """Read a whole object; None if there is none. Blocks.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        try:
            with _translated(key):
                return bytes(obstore.get(self._store, key).bytes())
        except StorageNotFoundError:
            return None

    def create_now(self, key: str, content: bytes) -> bool:
        """Write an object unless it exists; return whether it was written. Blocks.

        Raises:
            StorageFullError: no room.
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(key)
        with _translated(key):
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            if self._folder is not None:
                _to_disk(self._folder / key)
                _to_disk((self._folder / key).parent)
        return True

    def holds_now(self, prefix: str) -> bool:
        """Return whether any object's key begins with ``prefix`` and a slash; blocks.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        self._check(prefix)
        with _translated(prefix):
            return any(len(chunk) > 0 for chunk in obstore.list(self._store, prefix, chunk_size=1))

    def _check(self, key: str) -> None:
        """Assert that a key has our form: any other could lead out of the folder."""
        assert self._any_key or _KEY.fullmatch(key), key

    async def _put_locally(self, key: str, content: bytes | Path, folder: Path) -> None:
        temporary = f"{TEMPORARY_PREFIX}/{uuid.uuid4().hex}"
        try:
            await obstore.put_async(self._store, temporary, content, use_multipart=False)
            await asyncio.to_thread(_to_disk, folder / temporary)
            await obstore.rename_async(self._store, temporary, key)
            await asyncio.to_thread(_to_disk, (folder / key).parent)
        except BaseException:
            await asyncio.to_thread((folder / temporary).unlink, missing_ok=True)
            raise


def open_objects(url: str, *, any_key: bool = False) -> Objects:
    """Open the storage at a URL; a local folder is created.

    Args:
        url: ``file:///folder``, ``s3://bucket/prefix``, ``gs://...``, ``az://...``,
            ``abfss://...``; for S3 with the query parameters ``endpoint`` and ``region``.
        any_key: accept keys made elsewhere (`service/bulk`); obstore refuses those that lead out of
            the storage.

    Raises:
        StorageError: the URL names no usable storage.
    """
    store, folder = open_store(url)
    return Objects(store, folder, any_key=any_key)


def open_store(url: str) -> tuple[ObjectStore, Path | None]:
    """Open an obstore store, and return it with its local folder, if it has one.

    Args:
        url: as for `open_objects`.

    Raises:
        StorageError: the URL names no usable storage.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:  # not shown with the URL, which may hold credentials
        raise StorageError(
            "the storage's URL is invalid; expected file:///folder, s3://, gs://, az:// or abfss://"
        ) from error
    query = dict(urllib.parse.parse_qsl(parts.query))
    # Azure's own form has the container in place of a user.
    is_container = parts.scheme == "abfss" and parts.password is None
    if (parts.username or parts.password) and not is_container:
        raise StorageError(
            "a storage's URL must not contain credentials; they come from the environment"
        )
    try:
        if parts.scheme == "file":
            folder = Path(urllib.parse.unquote(parts.path))
            if parts.netloc or not folder.is_absolute():
                raise StorageError(f"storage is {url!r}; expected file:/// and an absolute path")
            folder.mkdir(parents=True, exist_ok=True)
            return LocalStore(folder, mkdir=True), folder
        if parts.scheme not in {"s3", "gs", "az", "abfss"}:
            raise StorageError(
                f"storage is {url!r}; expected file:///folder, s3://, gs://, az:// or abfss://"
            )
        options: dict[str, object] = {}
        if endpoint := query.pop("endpoint", None):
            options["endpoint"] = endpoint
        if region := query.pop("region", None):
            options["region"] = region
        if query:
            raise StorageError(f"storage has {', '.join(query)}; expected endpoint or region only")
        plain = parts._replace(query="").geturl()
        allow_http = (endpoint or "").startswith("http://")
        store = from_url(  # pyright: ignore[reportCallIssue] (an overload for each cloud)
            plain,
            config=options,  # pyright: ignore[reportArgumentType] (the same)
            client_options={"allow_http": allow_http, "timeout": "60s", "connect_timeout": "5s"},
            retry_config={
                "max_retries": _MOST_RETRIES,
                "retry_timeout": datetime.timedelta(seconds=_RETRY_SECONDS),
            },
        )
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]  # the rest is the library's internal state
        raise StorageError(f"storage {url!r} cannot be opened: {reason}") from error
    return store, None


@contextlib.contextmanager
def _translated(key: str) -> Generator[None]:
    """Translate the library's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageNotFoundError(f"there is no object {key}") from error
    except (BaseError, OSError) as error:
        if _FULL.search(str(error)) or getattr(error, "errno", None) in _FULL_NUMBERS:
            raise StorageFullError(f"the storage has no space for {key}: free some") from error
        raise _unavailable(key, error) from error


def _unavailable(key: str, error: Exception) -> StorageUnavailableError:
    # The library's message names hosts and accounts: for the log, not for callers.
    reason = " ".join(str(error).split())[:500]
    log_event(_logger, "storage_failed", level=logging.WARNING, key=key, reason=reason)
    return StorageUnavailableError(
        f"the storage did not store or return {key}: it does not answer, or refuses access"
    )


def _stored(meta: "ObjectMeta") -> StoredObject:
    modified: datetime.datetime = meta["last_modified"]
    return StoredObject(key=meta["path"], size_bytes=meta["size"], modified_at=modified.timestamp())


_FULL_NUMBERS = {28, 122}
"""ENOSPC and EDQUOT."""


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
