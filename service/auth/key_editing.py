"""Adding and revoking keys in a key file, by `mt3 keys`, with what people wrote in it kept.

The file is replaced whole and by renaming, so that a server which looks meanwhile sees the old or
the new one, and only after the new one has been read as a server reads it. A new file is its
owner's alone; mode and owner of one that exists stay.
"""

import contextlib
import datetime
import fcntl
import os
import tempfile
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import Any, TypeVar, cast

import tomlkit
from tomlkit.items import AoT, Table

from mt3_model.errors import OptionError
from service.auth.api_keys import FINGERPRINT_CHARACTERS
from service.auth.caller import Scope
from service.auth.key_file import MAX_FILE_BYTES, parse_key_file, read_key_file

_OWNER_ONLY = 0o600
T = TypeVar("T")


def describe_entry(
    name: str, digest: bytes, *, scopes: Collection[Scope] = (), expires: datetime.date | None
) -> str:
    """Writes one entry as TOML, for a file that somebody else keeps."""
    document = tomlkit.document()
    _append(document, name, digest, scopes, expires)
    return document.as_string()


def add_key(
    path: Path,
    name: str,
    digest: bytes,
    *,
    scopes: Collection[Scope] = (),
    expires: datetime.date | None = None,
) -> bool:
    """Adds a key's hash; makes the file if need be.

    Args:
        path: The key file.
        name: Of the caller. One who is there already gets another key beside the old ones.
        digest: SHA-256 of the key.
        scopes: Of a new caller; none: the default.
        expires: Last day of a new caller's keys, in UTC.

    Returns:
        Whether the caller had a key before.

    Raises:
        OptionError: The file cannot be used, or the caller is there and has scopes and an expiry.
    """

    def edit(document: tomlkit.TOMLDocument) -> bool:
        for entry in _entries(document):
            if entry["name"] == name:
                if scopes or expires is not None:
                    raise OptionError(
                        "name",
                        f"{path}: {name!r} is there already; scopes and expiry belong to the"
                        " caller and not to one key: change them in the file",
                    )
                _set_hashes(entry, [*_hashes(entry), digest.hex()])
                return True
        _append(document, name, digest, scopes, expires)
        return False

    return _rewrite(path, edit)


def revoke(path: Path, *, name: str | None, fingerprint: str | None) -> int:
    """Takes out a caller, or one key.

    Args:
        path: The key file.
        name: The caller; absent: whoever has the key.
        fingerprint: First digits of the key's hash, eight or more; absent: all of the caller's.

    Returns:
        How many keys were taken out.

    Raises:
        OptionError: The file cannot be used, or there is no such key, or more than one.
    """
    if fingerprint is not None and len(fingerprint) < FINGERPRINT_CHARACTERS:
        raise OptionError(
            "hash", f"the hash has {len(fingerprint)} digits; expected the first 8 or more"
        )

    def edit(document: tomlkit.TOMLDocument) -> int:
        entries = _entries(document)
        found = [
            (entry, digest)
            for entry in entries
            for digest in _hashes(entry)
            if name in (None, entry["name"])
            and (fingerprint is None or digest.lower().startswith(fingerprint.lower()))
        ]
        if not found or (fingerprint is not None and len(found) > 1):
            matching = "no key" if not found else f"{len(found)} keys"
            raise OptionError("name", f"{path}: {matching} of that name or hash (mt3 keys list)")
        for entry, digest in found:
            _set_hashes(entry, [kept for kept in _hashes(entry) if kept != digest])
        for index in reversed(range(len(entries))):
            if not _hashes(entries[index]):
                del entries[index]
        if not entries:
            # Said, because a file without entries would be taken for one that is being written.
            document.remove("keys")
            document.add("keys", tomlkit.array())
        return len(found)

    return _rewrite(path, edit)


def _append(
    document: tomlkit.TOMLDocument,
    name: str,
    digest: bytes,
    scopes: Collection[Scope],
    expires: datetime.date | None,
) -> None:
    entry = tomlkit.table()
    entry.add("name", name)
    _set_hashes(entry, [digest.hex()])
    if scopes:
        entry.add("scopes", [scope.value for scope in Scope if scope in scopes])
    if expires is not None:
        entry.add("expires", expires)
    if isinstance(document.get("keys"), AoT):
        entries = _entries(document)
        entries[-1].add(tomlkit.nl())
        entries.append(entry)
        return
    if "keys" in document:  # keys = []
        document.remove("keys")
    entries = tomlkit.aot()
    entries.append(entry)
    document.append("keys", entries)


def _entries(document: tomlkit.TOMLDocument) -> AoT:
    entries = document.get("keys")
    return entries if isinstance(entries, AoT) else tomlkit.aot()


def _hashes(entry: Any) -> list[str]:
    found = cast("str | list[str]", entry["sha256"])
    return [str(found)] if isinstance(found, str) else [str(each) for each in found]


def _set_hashes(entry: Table, hashes: list[str]) -> None:
    array = tomlkit.array()
    array.extend(hashes)
    entry["sha256"] = array.multiline(len(hashes) > 1)


def _rewrite(path: Path, edit: Callable[[tomlkit.TOMLDocument], T]) -> T:
    """Reads the file, changes it, and puts the new one in its place."""
    target = path.resolve()  # a link stays one
    try:
        with _locked(target.parent):
            exists = target.exists()
            if exists:
                read_key_file(target)  # only what a server would take is worth editing
                content = target.read_bytes()[:MAX_FILE_BYTES].decode("utf-8")
            else:
                content = ""
            document = tomlkit.parse(content)
            result = edit(document)
            written = document.as_string().encode("utf-8")
            parse_key_file(written, place=str(path))
            _replace(target, written, like=target.stat() if exists else None)
            return result
    except OSError as error:
        raise OptionError("file", f"{path}: it cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Keeps two `mt3 keys` apart."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(target: Path, content: bytes, *, like: os.stat_result | None) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if like is not None:
                # The server's user must be able to read what root writes.
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), _OWNER_ONLY if like is None else like.st_mode & 0o777)
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
