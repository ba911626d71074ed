"""A request's body -> a temporary file with the recording, and the form's fields.

Two ways in: multipart with a part named ``file``, or the bytes themselves as the body. Bytes go to
disk as they arrive, never all in memory, and are counted: one byte above the limit ends the
request with 413, and a Content-Length above it does so before the first byte is read. The file is
removed when the request ends, however it ends.

``curl --data-binary @song.mp3`` says ``application/x-www-form-urlencoded`` although it sends plain
bytes. Nobody uploads a recording in that encoding, so it is taken as the bytes.
"""

import asyncio
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from service.api.multipart import MAX_FIELD_BYTES, MultipartReceiver
from service.errors import (
    UnsupportedMediaTypeError,
    UploadAbortedError,
    UploadEmptyError,
    UploadMalformedError,
    UploadStorageError,
    UploadTimeoutError,
    UploadTooLargeError,
)

MULTIPART = "multipart/form-data"
RAW_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/ogg",
        "application/mp4",
        "application/x-www-form-urlencoded",  # curl's name for --data-binary
        "binary/octet-stream",  # object stores' name for unknown
    }
)
"""Content types beside ``audio/*`` and ``video/*`` that are taken as the recording itself."""
_BUFFER_BYTES = 2**20
"""Written to disk at a time."""
_ENVELOPE_BYTES = 2 * MAX_FIELD_BYTES
"""What a form may weigh beyond its file: fields, headers and boundaries."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    """What a deployment allows of an upload."""

    max_bytes: int
    idle_timeout_seconds: float
    folder: Path | None
    """Where the file lies; absent: the system's temporary folder."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A recording received."""

    path: Path
    """Exists until the context of `receive_upload` ends."""
    fields: tuple[tuple[str, str], ...]
    """Of the form, without the file; none for a raw body."""


@contextlib.asynccontextmanager
async def receive_upload(request: Request, limits: UploadLimits) -> AsyncGenerator[Upload]:
    """Receives the body into a temporary file.

    Raises:
        UploadError: Too large, empty, malformed, too slow, or not audio by its Content-Type.
    """
    media_type, parameters = parse_options_header(request.headers.get("content-type"))
    is_form = media_type.decode("latin-1") == MULTIPART
    if not is_form:
        _refuse_other_types(media_type.decode("latin-1"))
    _refuse_announced_size(request, limits.max_bytes + (_ENVELOPE_BYTES if is_form else 0), limits)
    sink = _FileSink(limits)
    try:
        if is_form:
            fields = await _receive_form(request, parameters.get(b"boundary", b""), sink, limits)
        else:
            fields = ()
            async for data in _stream(request, limits):
                sink.write(data)
                await sink.flush_if_large()
        await sink.close()
        if sink.size == 0:
            raise UploadEmptyError(
                "the body holds no audio (0 bytes); send the recording as the body or as the"
                " part 'file' of a form"
            )
        yield Upload(path=sink.path, fields=fields)
    finally:
        sink.remove()


async def _receive_form(
    request: Request, boundary: bytes, sink: "_FileSink", limits: UploadLimits
) -> tuple[tuple[str, str], ...]:
    if not boundary:
        raise UploadMalformedError(
            "the Content-Type multipart/form-data names no boundary; let the HTTP library set it"
        )
    receiver = MultipartReceiver(boundary, sink.write)
    async for data in _stream(request, limits):
        receiver.feed(data)
        await sink.flush_if_large()
    receiver.finish()
    return tuple(receiver.fields)


async def _stream(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The body's pieces, each within the idle timeout."""
    pieces = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(limits.idle_timeout_seconds):
                data = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadTimeoutError(
                f"nothing arrived for {limits.idle_timeout_seconds:g} s and the body is not whole;"
                " send it again"
            ) from error
        except ClientDisconnect as error:
            raise UploadAbortedError("the client went away before its body was whole") from error
        if data:
            yield data


class _FileSink:
    """A temporary file that is written in large pieces off the event loop, up to a limit."""

    def __init__(self, limits: UploadLimits) -> None:
        self.size = 0
        self._limits = limits
        self._buffer = bytearray()
        descriptor, name = tempfile.mkstemp(prefix="mt3-upload-", dir=limits.folder)
        self._file = os.fdopen(descriptor, "wb")
        self.path = Path(name)

    def write(self, data: bytes) -> None:
        """Takes bytes into the buffer."""
        self.size += len(data)
        if self.size > self._limits.max_bytes:
            raise _too_large(self._limits)
        self._buffer += data

    async def flush_if_large(self) -> None:
        """Writes the buffer once it is worth a trip to another thread."""
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def close(self) -> None:
        """Writes what is left."""
        await self._flush()
        self._file.close()

    def remove(self) -> None:
        """Leaves nothing behind."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            raise UploadStorageError("the server has no room for the recording now") from error


def _refuse_other_types(media_type: str) -> None:
    if not media_type or media_type in RAW_TYPES or media_type.startswith(("audio/", "video/")):
        return
    raise UnsupportedMediaTypeError(
        f"Content-Type is {media_type!r}; expected audio/*, video/*, application/octet-stream,"
        f" or {MULTIPART} with a part named 'file'"
    )


def _refuse_announced_size(request: Request, max_body_bytes: int, limits: UploadLimits) -> None:
    announced = request.headers.get("content-length", "").lstrip("0")
    if not (announced.isascii() and announced.isdigit()):
        return
    # Compared by length first: Python refuses to read a number of thousands of digits.
    if len(announced) > len(str(max_body_bytes)) or int(announced) > max_body_bytes:
        raise _too_large(limits)


def _too_large(limits: UploadLimits) -> UploadTooLargeError:
    return UploadTooLargeError(
        f"the recording is larger than the limit of {limits.max_bytes:,} bytes (max_upload_bytes);"
        " send a compressed format such as MP3 or FLAC, or a part of it"
    )
