"""One recording on its way to disk: bytes as they arrive -> a file in the upload folder.

Small pieces are gathered and written in large ones off the event loop; every byte is counted, and
the one above the limit ends the upload.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import BinaryIO

from service.api.uploads.upload_folder import UploadFolder
from service.errors import UploadStorageError, UploadTooLargeError
from service.observability.metrics import Metrics

_BUFFER_BYTES = 2**20
"""Written to disk at a time."""


class RecordingFile:
    """A file that is written in large pieces off the event loop, up to a limit.

    Attributes:
        path: Where it lies, until `remove`.
        size: Bytes taken so far.
    """

    def __init__(self, folder: UploadFolder, *, max_bytes: int, metrics: Metrics) -> None:
        """Makes the file.

        Args:
            folder: Where.
            max_bytes: Of the recording.
            metrics: Told of the bytes.

        Raises:
            UploadStorageError: The disk cannot hold it.
        """
        self.size = 0
        self._max_bytes = max_bytes
        self._folder = folder
        self._metrics = metrics
        self._buffer = bytearray()
        self.path: Path
        self._file: BinaryIO
        try:
            self.path, self._file = folder.new_file()
        except OSError as error:
            raise _no_room() from error

    def write(self, data: bytes) -> None:
        """Takes bytes into the buffer.

        Raises:
            UploadTooLargeError: They are more than ``max_bytes`` now.
        """
        self.size += len(data)
        self._metrics.upload_bytes.inc(len(data))
        if self.size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._buffer += data

    async def flush_if_large(self) -> None:
        """Writes the buffer once it is worth a trip to another thread.

        Raises:
            UploadStorageError: The disk cannot hold it.
        """
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def close(self) -> None:
        """Writes what is left.

        Raises:
            UploadStorageError: The disk cannot hold it.
        """
        await self._flush()
        try:
            self._file.close()
        except OSError as error:
            raise _no_room() from error

    def remove(self) -> None:
        """Leaves nothing behind."""
        with contextlib.suppress(OSError):  # what it still held is not wanted
            self._file.close()
        self._folder.remove(self.path)

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            raise _no_room() from error


def too_large(max_bytes: int) -> UploadTooLargeError:
    """The refusal of a recording above the limit, whether it was announced or has arrived."""
    return UploadTooLargeError(
        f"the recording is larger than the limit of {max_bytes:,} bytes (max_upload_bytes);"
        " send a compressed format such as MP3 or FLAC, or a part of it"
    )


def _no_room() -> UploadStorageError:
    return UploadStorageError("the server has no room for the recording now")
