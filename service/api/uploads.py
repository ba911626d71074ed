"""A request's body -> a temporary file with the recording, and the form's fields.

Two ways in: multipart with a part named ``file``, or the bytes themselves as the body. Bytes go to
disk as they arrive, never all in memory, and are counted: one byte above the limit ends the
request with 413, and a Content-Length above it does so before the first byte is read. The file is
removed when the request ends, however it ends.

How many uploads are received at once is bounded, and a place among them cannot be held for ever:
a client that sends nothing, or next to nothing, is answered 408.

``curl --data-binary @song.mp3`` says ``application/x-www-form-urlencoded`` although it sends plain
bytes. Nobody uploads a recording in that encoding, so it is taken as the bytes.
"""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from service.api.multipart import MAX_FIELD_BYTES, MultipartReceiver
from service.api.recording_file import RecordingFile, too_large
from service.api.upload_folder import UploadFolder
from service.auth.caller import ANONYMOUS, Caller
from service.errors import (
    OverloadedError,
    UnsupportedMediaTypeError,
    UploadAbortedError,
    UploadEmptyError,
    UploadMalformedError,
    UploadTimeoutError,
)
from service.observability.metrics import Metrics

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
_MEAN_SHARE = 0.1
"""Weight of the latest upload in the mean time of one."""
_ENVELOPE_BYTES = 2 * MAX_FIELD_BYTES
"""What a form may weigh beyond its file: fields, headers and boundaries."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    """What a deployment allows of an upload."""

    max_bytes: int
    """Of one recording, as sent."""
    idle_timeout_seconds: float
    """Longest wait for the next bytes."""
    min_bytes_per_second: float
    """Least rate over the time waited for bytes, judged once that is ``idle_timeout_seconds``."""
    max_concurrent: int
    """Uploads received at once."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A recording received."""

    path: Path
    """Exists until the context of `Uploads.receive` ends."""
    fields: tuple[tuple[str, str], ...]
    """Of the form, without the file; none for a raw body."""


class Uploads:
    """Receives recordings, so many at once. To be used from one event loop."""

    def __init__(
        self, limits: UploadLimits, folder: UploadFolder, metrics: Metrics | None = None
    ) -> None:
        self._limits = limits
        self._folder = folder
        self._metrics = metrics or Metrics()
        self._receiving = 0
        self._mean_seconds = 0.0

    @contextlib.asynccontextmanager
    async def receive(self, request: Request, caller: Caller = ANONYMOUS) -> AsyncGenerator[Upload]:
        """Receives the body into a file, which is removed when the context ends.

        Args:
            request: Its body must not have been read.
            caller: Whose limits hold beside the server's.

        Raises:
            UploadError: Too large, empty, malformed, too slow, or not audio by its Content-Type.
            OverloadedError: As many uploads are being received as may be.
        """
        limits = self.limits_of(caller)
        media_type, parameters = parse_options_header(request.headers.get("content-type"))
        is_form = media_type.decode("latin-1") == MULTIPART
        if not is_form:
            _refuse_other_types(media_type.decode("latin-1"))
        _refuse_announced_size(
            request, limits.max_bytes + (_ENVELOPE_BYTES if is_form else 0), limits
        )
        with self.place():
            sink = self.new_file(limits)
            try:
                fields = await _receive_into(
                    sink, request, limits, parameters.get(b"boundary", b"") if is_form else None
                )
            except BaseException:
                sink.remove()
                raise
        try:
            yield Upload(path=sink.path, fields=fields)
        finally:
            sink.remove()

    def limits_of(self, caller: Caller) -> UploadLimits:
        """The server's limits, lowered to the caller's."""
        return _lowered(self._limits, caller)

    def new_file(self, limits: UploadLimits) -> RecordingFile:
        """Makes a file for one recording; who asks removes it.

        Raises:
            UploadStorageError: The disk cannot hold it.
        """
        return RecordingFile(self._folder, max_bytes=limits.max_bytes, metrics=self._metrics)

    @contextlib.contextmanager
    def place(self) -> Generator[None]:
        """Holds a place among the uploads from the request's head to its last byte."""
        if self._receiving >= self._limits.max_concurrent:
            # Of n uploads that take t seconds each, one ends every t / n.
            retry_after = max(math.ceil(self._mean_seconds / self._receiving), 1)
            raise OverloadedError(
                f"{self._receiving} recordings are being received, as many as may be at once;"
                f" try again in {retry_after} s",
                retry_after_seconds=retry_after,
            )
        self._receiving += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self._receiving -= 1
            self._mean_seconds += _MEAN_SHARE * (time.monotonic() - began - self._mean_seconds)


async def _receive_into(
    sink: RecordingFile, request: Request, limits: UploadLimits, boundary: bytes | None
) -> tuple[tuple[str, str], ...]:
    """Receives a form with that boundary, or the bare bytes; gives the form's fields."""
    if boundary is not None:
        fields = await _receive_form(request, boundary, sink, limits)
    else:
        fields = ()
        async for data in stream_body(request, limits):
            sink.write(data)
            await sink.flush_if_large()
    await sink.close()
    if sink.size == 0:
        raise UploadEmptyError(
            "the body holds no audio (0 bytes); send the recording as the body or as the"
            " part 'file' of a form"
        )
    return fields


async def _receive_form(
    request: Request, boundary: bytes, sink: RecordingFile, limits: UploadLimits
) -> tuple[tuple[str, str], ...]:
    if not boundary:
        raise no_boundary()
    receiver = MultipartReceiver(boundary, sink.write)
    async for data in stream_body(request, limits):
        receiver.feed(data)
        await sink.flush_if_large()
    receiver.finish()
    return tuple(receiver.fields)


def no_boundary() -> UploadMalformedError:
    """The refusal of a form whose parts cannot be told apart."""
    return UploadMalformedError(
        "the Content-Type multipart/form-data names no boundary; let the HTTP library set it"
    )


async def stream_body(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The body's pieces, each within the idle timeout, and all together not too slow.

    Only the time spent waiting for the client counts, so that a slow disk is not held against it.
    """
    pieces = aiter(request.stream())
    idle_timeout, least = limits.idle_timeout_seconds, limits.min_bytes_per_second
    waited, size = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(idle_timeout):
                data = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadTimeoutError(
                f"nothing arrived for {idle_timeout:g} s and the body is not whole; send it again"
            ) from error
        except ClientDisconnect as error:
            raise UploadAbortedError("the client went away before its body was whole") from error
        waited += time.monotonic() - began
        size += len(data)
        if waited > idle_timeout and size < least * waited:
            raise UploadTimeoutError(
                f"{size:,} bytes arrived in {waited:.0f} s; expected at least {least:,.0f} bytes a"
                " second; send the recording over a faster line, or compressed"
            )
        if data:
            yield data


def _lowered(limits: UploadLimits, caller: Caller) -> UploadLimits:
    own = caller.limits.max_upload_bytes
    if own is None or own >= limits.max_bytes:
        return limits
    return dataclasses.replace(limits, max_bytes=own)


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
        raise too_large(limits.max_bytes)
