"""Write an arriving recording to a file in the upload folder.

Small pieces are buffered and written in large ones off the event loop. Every byte is counted, and
the first one above the limit ends the upload.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import BinaryIO

from service.api.uploads.upload_folder import UploadFolder
from service.errors import UploadStorageError, UploadTooLargeError
from service.observability.metrics import Metrics

_BUFFER_BYTES = 2**20
"""Size of one write to disk."""


class RecordingFile:
    """A buffered file with a size limit, written off the event loop.

    Attributes:
        path: Path of the file, which exists until `remove`.
        size: Bytes written so far, buffered ones included.
    """

    def __init__(self, folder: UploadFolder, *, max_bytes: int, metrics: Metrics) -> None:
        """Create the file.

        Args:
            folder: The folder of this process's uploads.
            max_bytes: Maximum size of the recording.
            metrics: The server's metrics, which count the bytes received.

        Raises:
            UploadStorageError: The disk is full or read-only, or the server lacks descriptors.
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
            raise _no_room(error) from error

    def write(self, data: bytes) -> None:
        """Add bytes to the buffer.

        Raises:
            UploadTooLargeError: The file now exceeds ``max_bytes``.
        """
        self.size += len(data)
        self._metrics.upload_bytes.inc(len(data))
        if self.size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._buffer += data

    async def flush_if_large(self) -> None:
        """Write the buffer once it is large enough to be worth a switch of threads.

        Raises:
            UploadStorageError: The disk is full.
        """
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def close(self) -> None:
        """Write the rest of the buffer and close the file.

        Raises:
            UploadStorageError: The disk is full.
        """
        await self._flush()
        try:
            self._file.close()
        except OSError as error:
            raise _no_room(error) from error

    def remove(self) -> None:
        """Close and delete the file."""
        with contextlib.suppress(
            OSError
        ):  # closing may flush, which may fail; the content is not needed
            self._file.close()
        self._folder.remove(self.path)

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            raise _no_room(error) from error


def too_large(max_bytes: int) -> UploadTooLargeError:
    """Return the error for a recording above the limit, whether announced or received."""
    return UploadTooLargeError(
        f"the recording is larger than the limit of {max_bytes:,} bytes (max_upload_bytes);"
        " send a compressed format such as MP3 or FLAC, or a part of it"
    )


def _no_room(error: OSError) -> UploadStorageError:
    return UploadStorageError(
        f"the server cannot store the recording at the moment: {error.strerror or error}"
    )
