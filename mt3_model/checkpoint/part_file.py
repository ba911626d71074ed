"""A file in the making: its bytes so far, their sums, and the ETag they came under.

The bytes grow in `<name>.part` and take the file's name only when they are whole; the ETag lies in
`<name>.etag` until then, so that another run can ask for the rest of the same file.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO

from mt3_model.checkpoint.manifest import ManifestFile
from mt3_model.errors import DownloadError


class RunningSums:
    """Running sha256, MD5 and size of a file's bytes."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begins again at no bytes."""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, block: bytes) -> None:
        """Goes on with the next bytes."""
        self._sha256.update(block)
        self._md5.update(block)
        self.size += len(block)

    @property
    def sha256(self) -> str:
        """Of the bytes so far, lowercase hexadecimal."""
        return self._sha256.hexdigest()

    def difference(self, expected: ManifestFile) -> str | None:
        """What is wrong, in words; None where nothing is."""
        for name, wanted, found in (
            ("bytes", str(expected.bytes), str(self.size)),
            ("sha256", expected.sha256, self.sha256),
            ("MD5", expected.md5, self._md5.hexdigest()),
        ):
            if wanted is not None and wanted != found:
                return f"found {name} {found}, expected {wanted}"
        return None


def sum_file(file: Path) -> RunningSums:
    """Sums all bytes of a file."""
    sums = RunningSums()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            sums.update(block)
    return sums


class PartFile:
    """The unfinished file, and the ETag of what is in it."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._target = target
        self._etag_path = target.with_name(target.name + ".etag")
        self.size = 0
        self._counted = False

    @property
    def etag(self) -> str | None:
        """A strong ETag only: a weak one may not be used for ranges (RFC 9110, 13.1.5)."""
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

    def resume(self, expected_bytes: int) -> RunningSums:
        """Sums what is there; a part longer than the file can be is thrown away."""
        sums = sum_file(self.path) if self.path.exists() else RunningSums()
        if sums.size > expected_bytes:
            self.remove()
            sums.clear()
        self.size = sums.size
        return sums

    def take_uncounted(self) -> int:
        """Bytes of an earlier run, the first time it is asked."""
        uncounted = 0 if self._counted else self.size
        self._counted = True
        return uncounted

    def append(self) -> IO[bytes]:
        """Opens the part to write on at its end."""
        return self.path.open("ab")

    def finish(self) -> None:
        """Gives the part the file's name, its bytes being on the disk."""
        with self.path.open("ab") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self._target)
        self._etag_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Throws the part away."""
        self.path.unlink(missing_ok=True)
        self._etag_path.unlink(missing_ok=True)
        self.size = 0


@contextlib.contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turns what the disk refuses into a `DownloadError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk is full at {path}. Make room and try again: what is whole was kept"
            ) from error
        raise DownloadError(f"{path} cannot be written ({error}); check its folder") from error
