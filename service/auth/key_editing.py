"""Adds and revokes keys in a key file, for `mt3 keys`; comments and layout are kept.

The file is replaced by renaming, so that a server sees the old or the new one, and only after the
new one was parsed as a server parses it. A new file is readable by its owner only; the mode and
owner of an existing one stay.
"""

import datetime
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar, cast

import filelock
import tomlkit
from tomlkit.items import AoT, Table

from mt3_model.errors import OptionError
from service.atomic_file import write_atomically
from service.auth.api_keys import FINGERPRINT_CHARACTERS
from service.auth.caller import Scope
from service.auth.key_file import MAX_FILE_BYTES, parse_key_file, read_key_file

_OWNER_ONLY = 0o600
T = TypeVar("T")


def describe_entry(
    name: str, digest: bytes, *, scopes: Collection[Scope] = (), expires: datetime.date | None
) -> str:
    """Return one entry as TOML, to be pasted into a key file."""
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
    """Add a key's hash; create the file if needed.

    Args:
        path: the key file.
        name: the caller; an existing one gets an additional key.
        digest: SHA-256 of the key.
        scopes: scopes of a new caller; none: the default.
        expires: last day of a new caller's keys, in UTC.

    Returns:
        Whether the caller had a key before.

    Raises:
        OptionError: the file cannot be used, or scopes or an expiry are given for a caller that
            exists.
    """

    def edit(document: tomlkit.TOMLDocument) -> bool:
        for entry in _entries(document):
            if entry["name"] == name:
                if scopes or expires is not None:
                    raise OptionError(
                        "name",
                        f"{path}: {name!r} already exists; scopes and expiry belong to the"
                        " caller, not to one key: change them in the file",
                    )
                _set_hashes(entry, [*_hashes(entry), digest.hex()])
                return True
        _append(document, name, digest, scopes, expires)
        return False

    return _rewrite(path, edit)


def revoke(path: Path, *, name: str | None, fingerprint: str | None) -> int:
    """Remove a caller, or one key.

    Args:
        path: the key file.
        name: the caller; None: the holder of the key.
        fingerprint: first digits of the key's hash, eight or more; None: all keys of the caller.

    Returns:
        The number of removed keys.

    Raises:
        OptionError: the file cannot be used, or the key is not found or not unique.
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
            raise OptionError("name", f"{path}: {matching} with that name or hash (mt3 keys list)")
        for entry, digest in found:
            _set_hashes(entry, [kept for kept in _hashes(entry) if kept != digest])
        for index in reversed(range(len(entries))):
            if not _hashes(entries[index]):
                del entries[index]
        if not entries:
            # A file without entries would look like one that is being written.
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
    """Read the file, change it, and replace it."""
    target = path.resolve()  # keep a link
    try:
        target.parent.stat()  # the lock would create the folder
        with filelock.FileLock(target.with_name(f".{target.name}.lock"), fallback_to_soft=False):
            exists = target.exists()
            if exists:
                read_key_file(target)  # edit only a file that a server would accept
                content = target.read_bytes()[:MAX_FILE_BYTES].decode("utf-8")
            else:
                content = ""
            document = tomlkit.parse(content)
            result = edit(document)
            written = document.as_string().encode("utf-8")
            parse_key_file(written, place=str(path))
            # The server's user must still be able to read what root writes: owner and mode stay.
            like = target.stat() if exists else None
            write_atomically(target, written, mode=_OWNER_ONLY, like=like)
            return result
    except OSError as error:
        raise OptionError("file", f"{path}: it cannot be written: {error.strerror}") from error
