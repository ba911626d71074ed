"""Receive a request's body: a temporary file with the recording, and the fields of the form.

The recording is either the multipart part ``file`` or the body itself. Bytes are written to disk as
they arrive, never all held in memory, and counted: one byte above the limit ends the request with
413, and so does a larger Content-Length before the first byte is read. The file is removed when the
request ends, however it ends.

The number of concurrent uploads is bounded, and an upload that sends too slowly is answered 408.
`upload_limiter.py` decides which upload is admitted and which slow one is ended in its favor. JSON
and small bodies are counted apart, so that large uploads never delay them.

``curl --data-binary @song.mp3`` sends plain bytes but labels them
``application/x-www-form-urlencoded``. They are treated as the recording, unless the bytes show that
another of curl's options has changed them (`corrupted_body.py`).
"""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from service.api.uploads.content_encoding import find_decoder
from service.api.uploads.corrupted_body import URLENCODED, CorruptedBodyCheck
from service.api.uploads.file_names import kept_name
from service.api.uploads.multipart import FILE_PART, MAX_FIELD_BYTES, MultipartReceiver
from service.api.uploads.recording_file import RecordingFile, too_large
from service.api.uploads.upload_folder import UploadFolder
from service.api.uploads.upload_limiter import ActiveUpload, UploadLimiter, upload_owner
from service.auth.caller import ANONYMOUS, Caller
from service.errors import (
    UnsupportedMediaTypeError,
    UploadAbortedError,
    UploadEmptyError,
    UploadMalformedError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from service.observability.metrics import Metrics
from service.schemas.transcription_options import OPTION_NAMES

MULTIPART = "multipart/form-data"
RAW_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/ogg",
        "application/mp4",
        URLENCODED,  # curl's name for --data-binary
        "binary/octet-stream",  # object stores' name for unknown
    }
)
"""Content types accepted as the recording itself, in addition to ``audio/*`` and ``video/*``."""
_SMALL_BODY_BYTES = 2**20
"""A body announced with at most this size is counted apart from larger ones."""
_ENVELOPE_BYTES = 2 * MAX_FIELD_BYTES
"""Maximum size of a form without its file: fields, headers and boundaries."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    """The deployment's limits of uploads."""

    max_bytes: int
    """Maximum size of one recording, as sent."""
    idle_timeout_seconds: float
    """Maximum wait for the next bytes."""
    min_bytes_per_second: float
    """Minimum mean rate, checked once ``idle_timeout_seconds`` were spent waiting for bytes."""
    total_timeout_seconds: float
    """Maximum total time spent waiting for the bytes of one body."""
    max_concurrent: int
    """Maximum number of concurrent large uploads, and of concurrent small ones."""
    max_concurrent_per_caller: int
    """The same maximum for one caller."""
    scarce_bytes_per_second: float
    """A slower upload is ended when another one needs its permit."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A received recording."""

    path: Path
    """The file; it exists until the context of `UploadReceiver.receive` ends."""
    fields: tuple[tuple[str, str], ...]
    """Fields of the form, without the file; empty for a raw body."""
    name: str | None
    """The client's name of the file, if given."""


class UploadReceiver:
    """Receives a bounded number of concurrent uploads. To be used from one event loop."""

    def __init__(
        self, limits: UploadLimits, folder: UploadFolder, metrics: Metrics | None = None
    ) -> None:
        self._limits = limits
        self._folder = folder
        self._metrics = metrics or Metrics()
        self._large_limiter, self._small_limiter = (
            UploadLimiter(
                max_uploads=limits.max_concurrent,
                max_per_owner=limits.max_concurrent_per_caller,
                scarce_bytes_per_second=limits.scarce_bytes_per_second,
            )
            for _ in range(2)
        )

    @contextlib.asynccontextmanager
    async def receive(self, request: Request, caller: Caller = ANONYMOUS) -> AsyncGenerator[Upload]:
        """Receive the body into a file, which is removed when the context ends.

        Args:
            request: The request; its body must not have been read.
            caller: The caller, whose limits apply in addition to the server's.

        Raises:
            UploadError: Too large, empty, malformed, too slow, or not audio by its Content-Type.
            OverloadedError: The server's limit of concurrent uploads is reached.
            QuotaError: The caller's limit of concurrent uploads is reached.
        """
        limits = self.limits_of(caller)
        media_type, parameters = parse_options_header(request.headers.get("content-type"))
        is_form = media_type.decode("latin-1") == MULTIPART
        if not is_form:
            _refuse_other_types(media_type.decode("latin-1"))
        check = CorruptedBodyCheck() if media_type.decode("latin-1") == URLENCODED else None
        _refuse_announced_size(
            request, limits.max_bytes + (_ENVELOPE_BYTES if is_form else 0), limits
        )
        with self.admit(request, caller) as active:
            sink = self.new_file(limits)
            try:
                body = stream_body(request, limits, active)
                if is_form:
                    boundary = parameters.get(b"boundary", b"")
                    fields, name = await _receive_form(body, boundary, sink)
                else:
                    await _receive_bytes(body, sink, check)
                    fields, name = (), None
                await sink.close()
            except BaseException:
                sink.remove()
                raise
        try:
            yield Upload(path=sink.path, fields=fields, name=name)
        finally:
            sink.remove()

    async def receive_document(
        self, request: Request, caller: Caller, *, max_bytes: int, expected: str
    ) -> bytes:
        """Receive a JSON body into memory.

        Args:
            request: The request; its body must not have been read.
            caller: The caller, whose limits apply in addition to the server's.
            max_bytes: The largest body.
            expected: Description of the expected body, for messages.

        Raises:
            UploadError: Too large, empty or too slow.
            OverloadedError: The server's limit of concurrent uploads is reached.
            QuotaError: The caller's limit of concurrent uploads is reached.
        """
        pieces: list[bytes] = []
        size = 0
        with self.admit(request, caller, is_document=True) as active:
            async for data in stream_body(request, self.limits_of(caller), active):
                size += len(data)
                if size > max_bytes:
                    raise UploadTooLargeError(
                        f"the JSON body is larger than {max_bytes:,} bytes; expected {expected}, in"
                        " smaller parts"
                    )
                pieces.append(data)
        if not size:
            raise UploadEmptyError(f"the body is empty; expected {expected}")
        return b"".join(pieces)

    def limits_of(self, caller: Caller) -> UploadLimits:
        """Return the server's limits, lowered to the caller's."""
        return _lowered(self._limits, caller)

    def new_file(self, limits: UploadLimits) -> RecordingFile:
        """Create a file for one recording; the caller must remove it.

        Raises:
            UploadStorageError: The disk is full or read-only.
        """
        return RecordingFile(self._folder, max_bytes=limits.max_bytes, metrics=self._metrics)

    @contextlib.contextmanager
    def admit(
        self, request: Request, caller: Caller, *, is_document: bool = False
    ) -> Generator[ActiveUpload]:
        """Hold an upload permit while the body is received.

        Args:
            request: The request; its body must not have been read.
            caller: The caller whose limit applies.
            is_document: The body is JSON, which counts as small whatever its length.

        Raises:
            OverloadedError: The server's limit of concurrent uploads is reached.
            QuotaError: The caller's limit of concurrent uploads is reached.
        """
        announced = _announced_bytes(request, at_most=self._limits.max_bytes + _ENVELOPE_BYTES)
        is_small = is_document or (
            announced is not None
            and announced <= _SMALL_BODY_BYTES
            and "content-encoding"
            not in request.headers  # the announced length is the compressed one
        )
        limiter = self._small_limiter if is_small else self._large_limiter
        with limiter.acquire(upload_owner(request, caller), announced) as active:
            yield active


async def _receive_bytes(
    body: AsyncIterator[bytes], sink: RecordingFile, check: CorruptedBodyCheck | None
) -> None:
    """Receive a body that is the recording itself."""
    async for data in body:
        if check is not None:
            check.feed(data)
        sink.write(data)
        await sink.flush_if_large()
    if check is not None:
        check.finish()
    if sink.size == 0:
        raise UploadEmptyError(
            "the body is empty (0 bytes); send the recording as the body or as the part 'file' of a"
            " form"
        )


async def _receive_form(
    body: AsyncIterator[bytes], boundary: bytes, sink: RecordingFile
) -> tuple[tuple[tuple[str, str], ...], str | None]:
    """Receive a form; return its fields and the file's name."""
    if not boundary:
        raise no_boundary()
    names: list[str] = []
    check = CorruptedBodyCheck()

    def write(data: bytes) -> None:
        if not names[-1]:
            check.feed(data)
        sink.write(data)

    receiver = MultipartReceiver(boundary, write, begin_file=names.append, field_names=OPTION_NAMES)
    async for data in body:
        receiver.feed(data)
        await sink.flush_if_large()
    receiver.finish()
    if sink.size == 0:
        raise UploadEmptyError(
            f"the part {FILE_PART!r} is an empty file (0 bytes); send a recording"
        )
    if not names[-1]:
        check.refuse_text()
    return tuple(receiver.fields), kept_name(names[-1])


def no_boundary() -> UploadMalformedError:
    """Return the error for a form without a boundary between its parts."""
    return UploadMalformedError(
        "the Content-Type multipart/form-data has no boundary; let the HTTP library set it"
    )


async def stream_body(
    request: Request, limits: UploadLimits, active: ActiveUpload
) -> AsyncIterator[bytes]:
    """Yield the decompressed pieces of a body, within the limits of time and rate.

    Only the time spent waiting for the client counts, so that a slow disk does not matter. The rate
    is that of the bytes received, before decompression.

    Args:
        request: The request; its body must not have been read.
        limits: The limits of this upload.
        active: The permit of this upload, which counts its bytes.

    Raises:
        UploadTimeoutError: The upload is too slow, or was preempted.
        UploadAbortedError: The client disconnected.
        UnsupportedEncodingError: The Content-Encoding is not an accepted one.
        UploadEncodingError: The body does not match its Content-Encoding.
    """
    decoder = find_decoder(request.headers)
    pieces = aiter(request.stream())
    while True:
        try:
            async with active.waiting(limits.idle_timeout_seconds):
                data = await anext(pieces)
        except StopAsyncIteration:
            if decoder is not None:
                decoder.finish()
            return
        except TimeoutError as error:
            raise _too_slow(active, limits) from error
        except ClientDisconnect as error:
            raise UploadAbortedError(
                "the client disconnected before its body was complete"
            ) from error
        active.size += len(data)
        waited = active.waited_seconds
        if waited > limits.idle_timeout_seconds and (
            active.size < limits.min_bytes_per_second * waited
            or waited > limits.total_timeout_seconds
        ):
            raise _too_slow(active, limits)
        if decoder is not None:
            for piece in decoder.feed(data):
                yield piece
        elif data:
            yield data


def _too_slow(active: ActiveUpload, limits: UploadLimits) -> UploadTimeoutError:
    waited = active.waited_seconds
    arrived = f"{active.size:,} bytes arrived in {waited:.0f} s"
    faster = "send the recording over a faster connection, or compressed"
    if active.is_preempted:
        return UploadTimeoutError(
            f"{arrived}, and another upload was waiting; while uploads wait, expected at least"
            f" {limits.scarce_bytes_per_second:,.0f} bytes a second: {faster}, or try again later"
        )
    if waited > limits.total_timeout_seconds:
        return UploadTimeoutError(
            f"{arrived} and the body is not complete; expected all of it within"
            f" {limits.total_timeout_seconds:,.0f} s; {faster}"
        )
    if waited > limits.idle_timeout_seconds and active.size < limits.min_bytes_per_second * waited:
        return UploadTimeoutError(
            f"{arrived}; expected at least {limits.min_bytes_per_second:,.0f} bytes a second;"
            f" {faster}"
        )
    return UploadTimeoutError(
        f"nothing arrived for {limits.idle_timeout_seconds:g} s and the body is not complete; send"
        " it again"
    )


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
    announced = _announced_bytes(request, at_most=max_body_bytes)
    if announced is not None and announced > max_body_bytes:
        raise too_large(limits.max_bytes)


def _announced_bytes(request: Request, *, at_most: int) -> int | None:
    """Return the Content-Length, at most ``at_most + 1``; None if absent or not a number."""
    announced = request.headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit()):
        return None
    digits = announced.lstrip("0") or "0"
    # Compared by length first: Python refuses to parse thousands of digits.
    return at_most + 1 if len(digits) > len(str(at_most)) else min(int(digits), at_most + 1)
