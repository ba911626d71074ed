"""A partly downloaded file: its bytes so far, their checksums, and the ETag of the source.

The bytes are in `<name>.part`, which is renamed when it is complete. Until then `<name>.etag` has
the ETag, so that a later run can request the rest of the same file.
"""

import contextlib
import errno
import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import IO

from mt3_model.checkpoint.atomic_rename import replace_durably
from mt3_model.checkpoint.manifest import ManifestFile
from mt3_model.errors import DownloadError


class Checksums:
    """The sha256, MD5 and size of a file, updated block by block."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start again with no bytes."""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, block: bytes) -> None:
        """Add the next bytes."""
        self._sha256.update(block)
        self._md5.update(block)
        self.size += len(block)

    @property
    def sha256(self) -> str:
        """The sha256 of the bytes so far, in lowercase hexadecimal."""
        return self._sha256.hexdigest()

    def mismatch(self, expected: ManifestFile) -> str | None:
        """Describe the first difference from the expected file; None if there is none."""
        for name, wanted, found in (
            ("bytes", str(expected.bytes), str(self.size)),
            ("sha256", expected.sha256, self.sha256),
            ("MD5", expected.md5, self._md5.hexdigest()),
        ):
            if wanted is not None and wanted != found:
                return f"found {name} {found}, expected {wanted}"
        return None


def checksum_file(file: Path) -> Checksums:
    """Compute the checksums of a file."""
    checksums = Checksums()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            checksums.update(block)
    return checksums


class PartialFile:
    """A file being downloaded, and the ETag of its source.

    Attributes:
        path: The `.part` file.
        size: The number of bytes in it.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._target = target
        self._etag_path = target.with_name(target.name + ".etag")
        self.size = 0
        self._counted = False

    @property
    def etag(self) -> str | None:
        """The ETag, if strong; a weak one must not be used for ranges (RFC 9110, 13.1.5)."""
        try:
            text = self._etag_path.read_text(encoding="latin-1")
        except FileNotFoundError:
            return None
        return text if text.startswith('"') else None

    @etag.setter
    def etag(self, value: str | None) -> None:
        if value is None:
            self._etag_path.unlink(missing_ok=True)
        else:
            self._etag_path.write_text(value, encoding="latin-1")

    def resume(self, expected_bytes: int) -> Checksums:
        """Return the checksums of the bytes so far; discard them if there are too many."""
        checksums = checksum_file(self.path) if self.path.exists() else Checksums()
        if checksums.size > expected_bytes:
            self.remove()
            checksums.clear()
        self.size = checksums.size
        return checksums

    def take_uncounted_bytes(self) -> int:
        """Return the bytes of an earlier run on the first call, then 0."""
        uncounted = 0 if self._counted else self.size
        self._counted = True
        return uncounted

    def append(self) -> IO[bytes]:
        """Open the file for appending."""
        return self.path.open("ab")

    def finish(self) -> None:
        """Rename the complete file to its final name."""
        replace_durably(self.path, self._target)
        self._etag_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the partial file and its ETag."""
        self.path.unlink(missing_ok=True)
        self._etag_path.unlink(missing_ok=True)
        self.size = 0


@contextlib.contextmanager
def wrap_disk_errors(path: Path) -> Generator[None]:
    """Convert an `OSError` into a `DownloadError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk is full at {path}. Free some space and try again:"
                " everything received correctly was kept"
            ) from error
        raise DownloadError(f"{path} cannot be written ({error}); check its folder") from error
