"""A form with many recordings -> each in the jobs' storage as soon as it has arrived.

At most one recording of a request lies on this disk at a time: it is received into the upload
folder, counted and hashed as it comes, put into the storage under its job's id, and removed here.
So a thousand files need the room of one, and no more memory than one.

What was stored for a submission that fails is the caller's to remove; `receive_files` only leaves
nothing in the upload folder.
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
    """What the client called it; none where it gave no name."""
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedForm:
    """A form received whole."""

    files: tuple[ReceivedFile, ...]
    """In their order."""
    fields: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Begins:
    name: str


class _Ends:
    """The file that began last is whole."""


_Step = _Begins | bytes | _Ends


async def receive_files(
    uploads: UploadReceiver,
    request: Request,
    caller: Caller,
    keep: Callable[[int, Path], Awaitable[None]],
    *,
    field_names: Collection[str],
    max_files: int,
    max_bytes: int,
) -> ReceivedForm:
    """Receives a multipart form and keeps its files one by one.

    Args:
        uploads: Of the server.
        request: Its body must not have been read.
        caller: Whose limits hold beside the server's.
        keep: Stores a file by its number, 0, 1, 2...; the file is removed when it returns.
        field_names: All that the form's fields may be called.
        max_files: Most recordings.
        max_bytes: Of all of them.

    Raises:
        UploadError: Too large, empty, malformed or too slow.
        OverloadedError: As many uploads are being received as may be.
        QuotaError: As many of the caller's are.
    """
    limits = uploads.limits_of(caller)
    _, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise no_boundary()
    steps: list[_Step] = []
    receiver = MultipartReceiver(
        boundary,
        steps.append,
        max_files=max_files,
        begin_file=lambda name: steps.append(_Begins(name=name)),
        end_file=lambda: steps.append(_Ends()),
        field_names=field_names,
    )
    files: list[ReceivedFile] = []
    total = 0
    current: _Receiving | None = None
    with uploads.admit(request, caller) as place:
        try:
            async for data in stream_body(request, limits, place):
                receiver.feed(data)
                for step in steps:
                    match step:
                        case _Begins():
                            current = _Receiving(uploads.new_file(limits), step.name)
                        case bytes():
                            assert current is not None, "a file's bytes come after its head"
                            total += len(step)
                            if total > max_bytes:
                                raise _too_large_together(max_bytes)
                            await current.take(step)
                        case _Ends():
                            assert current is not None, "a file ends that has begun"
                            files.append(await current.finish(len(files), keep))
                            current.file.remove()
                            current = None
                steps.clear()
            receiver.finish()
        finally:
            if current is not None:
                current.file.remove()
    return ReceivedForm(files=tuple(files), fields=tuple(receiver.fields))


class _Receiving:
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
        self, number: int, keep: Callable[[int, Path], Awaitable[None]]
    ) -> ReceivedFile:
        await self.file.close()
        if self.file.size == 0:
            raise UploadEmptyError(
                f"the part {FILE_PART!r} number {number + 1} holds no audio (0 bytes); nothing of"
                " the job was accepted"
            )
        if self._check is not None:
            self._check.refuse_text()
        await keep(number, self.file.path)
        return ReceivedFile(name=self._name, sha256=self._hash.hexdigest())


def _too_large_together(max_bytes: int) -> UploadTooLargeError:
    return UploadTooLargeError(
        f"the recordings together are larger than the limit of {max_bytes:,} bytes"
        " (max_job_upload_bytes); send them as several jobs"
    )
