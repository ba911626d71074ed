"""A form with many recordings -> each recording in the job storage as soon as it has arrived.

At most one recording of a request is on this disk at a time: it is received into the upload folder,
counted and hashed as it arrives, put into the storage under the id of its job, and removed here. A
thousand files need no more disk space or memory than one.

`receive_files` leaves nothing in the upload folder. If the submission fails, its caller removes
what is in the storage.
"""

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header

from service.api.uploads.corrupted_body import CorruptedBodyCheck
from service.api.uploads.file_names import kept_name
from service.api.uploads.multipart import FILE_PART, MultipartReceiver
from service.api.uploads.recording_file import RecordingFile
from service.api.uploads.upload_receiver import UploadReceiver, no_boundary, stream_body
from service.auth.caller import Caller
from service.errors import UploadEmptyError, UploadTooLargeError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedFile:
    """A recording in the storage."""

    name: str | None
    """The client's name of the file; None if it sent none."""
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedForm:
    """A form received completely."""

    files: tuple[ReceivedFile, ...]
    fields: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FileBegins:
    name: str


class _FileEnds:
    """The file that began last is complete."""


_FilePart = _FileBegins | bytes | _FileEnds


async def receive_files(
    uploads: UploadReceiver,
    request: Request,
    caller: Caller,
    store: Callable[[int, Path], Awaitable[None]],
    *,
    field_names: Collection[str],
    max_files: int,
    max_bytes: int,
) -> ReceivedForm:
    """Receive a multipart form and store its files one by one.

    Args:
        uploads: the server's receiver of recordings.
        request: the request, whose body has not been read.
        caller: the caller, whose limits apply in addition to the server's.
        store: stores a file by its number, 0, 1, 2...; the file is removed when it returns.
        field_names: the names that fields of the form may have.
        max_files: maximum number of recordings.
        max_bytes: maximum size of all recordings together.

    Raises:
        UploadError: the form is too large, empty, malformed or too slow.
        OverloadedError: the server has reached its limit of concurrent uploads.
        QuotaError: the caller has reached its limit of concurrent uploads.
    """
    limits = uploads.limits_of(caller)
    _, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise no_boundary()
    parts: list[_FilePart] = []
    receiver = MultipartReceiver(
        boundary,
        parts.append,
        max_files=max_files,
        begin_file=lambda name: parts.append(_FileBegins(name=name)),
        end_file=lambda: parts.append(_FileEnds()),
        field_names=field_names,
    )
    files = _IncomingFiles(lambda: uploads.new_file(limits), store, max_bytes=max_bytes)
    with uploads.admit(request, caller) as active:
        try:
            async for data in stream_body(request, limits, active):
                receiver.feed(data)
                for part in parts:
                    await files.take(part)
                parts.clear()
            receiver.finish()
        finally:
            files.remove_current()
    return ReceivedForm(files=tuple(files.stored), fields=tuple(receiver.fields))


class _IncomingFiles:
    """The files of a form, each stored and removed from this disk when it is complete."""

    def __init__(
        self,
        new_file: Callable[[], RecordingFile],
        store: Callable[[int, Path], Awaitable[None]],
        *,
        max_bytes: int,
    ) -> None:
        self.stored: list[ReceivedFile] = []
        self._new_file = new_file
        self._store = store
        self._max_bytes = max_bytes
        self._total = 0
        self._current: _IncomingFile | None = None

    async def take(self, part: _FilePart) -> None:
        match part:
            case _FileBegins():
                self._current = _IncomingFile(self._new_file(), part.name)
            case bytes():
                assert self._current is not None, "a file's bytes come after its head"
                self._total += len(part)
                if self._total > self._max_bytes:
                    raise _too_large_together(self._max_bytes)
                await self._current.take(part)
            case _FileEnds():
                assert self._current is not None, "a file ends that has begun"
                self.stored.append(await self._current.finish(len(self.stored), self._store))
                self.remove_current()

    def remove_current(self) -> None:
        """Remove the file that has begun, if there is one."""
        if self._current is not None:
            self._current.file.remove()
            self._current = None


class _IncomingFile:
    """The file that is arriving."""

    def __init__(self, file: RecordingFile, name: str) -> None:
        self.file = file
        self._name = kept_name(name)
        self._check = None if name else CorruptedBodyCheck()
        self._hash = hashlib.sha256()

    async def take(self, data: bytes) -> None:
        if self._check is not None:
            self._check.feed(data)
        self.file.write(data)
        self._hash.update(data)
        await self.file.flush_if_large()

    async def finish(
        self, number: int, store: Callable[[int, Path], Awaitable[None]]
    ) -> ReceivedFile:
        await self.file.close()
        if self.file.size == 0:
            raise UploadEmptyError(
                f"part {number + 1} named {FILE_PART!r} is empty (0 bytes); nothing of the job was"
                " accepted"
            )
        if self._check is not None:
            self._check.refuse_text()
        await store(number, self.file.path)
        return ReceivedFile(name=self._name, sha256=self._hash.hexdigest())


def _too_large_together(max_bytes: int) -> UploadTooLargeError:
    return UploadTooLargeError(
        f"the recordings together are larger than the limit of {max_bytes:,} bytes"
        " (max_job_upload_bytes); send them as several jobs"
    )
