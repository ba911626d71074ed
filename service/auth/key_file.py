"""The key file and `MT3_API_KEYS` -> keys; and keys -> the file.

The file is TOML::

    [[keys]]
    name = "alice"                     # in logs and metrics; her jobs belong to it
    sha256 = ["9f86d0...", "60303a..."]   # one hash, or several while a key is exchanged
    scopes = ["transcribe", "jobs"]    # the default
    expires = 2027-01-31               # to the end of that day in UTC, or a time with its zone
    max_concurrent_requests = 4        # and the other limits of `CallerLimits`

It is read strictly: an unknown field may be a limit misspelt, and a limit that is silently not
there is worse than a server that keeps its old keys and says why. A file without a single entry
must say so (``keys = []``), because an editor empties a file before it writes it.
"""

import dataclasses
import datetime
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mt3_model.errors import OptionError
from service.auth.api_keys import MIN_KEY_CHARACTERS, Key, hash_key, parse_digest
from service.auth.caller import ANONYMOUS, Caller, CallerLimits, Scope

DEFAULT_SCOPES = frozenset({Scope.TRANSCRIBE, Scope.JOBS})
"""What a user of the API needs; the operator's own are named where wanted."""
MAX_FILE_BYTES = 2**22
"""Ten thousand keys with room; larger is not a key file."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WHOLE_LIMITS = frozenset({"max_upload_bytes", "max_concurrent_requests"})
LIMIT_NAMES = tuple(field.name for field in dataclasses.fields(CallerLimits))
_FIELDS = ("name", "sha256", "scopes", "expires", *LIMIT_NAMES)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeyEntry:
    """One ``[[keys]]`` of a file: a caller with all of its hashes."""

    caller: Caller
    digests: tuple[bytes, ...] = dataclasses.field(repr=False)
    expires: datetime.datetime | None = None

    def to_keys(self) -> tuple[Key, ...]:
        """Gives a key for each hash."""
        return tuple(
            Key(digest=digest, caller=self.caller, expires=self.expires) for digest in self.digests
        )


def read_key_file(path: Path) -> tuple[KeyEntry, ...]:
    """Reads a key file.

    Raises:
        OptionError: It cannot be read or is not a key file. The message names file, entry, what
            was found and what was expected, and shows neither a key nor a hash.
    """
    try:
        # Never waits for ever nor fills the memory, whatever the path leads to.
        if not path.is_file():
            found = "there is no such file" if not path.exists() else "it is not a plain file"
            raise _refusal(str(path), f"{found}; expected a key file (mt3 keys new makes one)")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refusal(str(path), f"it cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refusal(str(path), f"it is larger than {MAX_FILE_BYTES:,} bytes")
    return parse_key_file(content, place=str(path))


def parse_key_file(content: bytes, *, place: str) -> tuple[KeyEntry, ...]:
    """Reads a key file's content; `read_key_file` says what it raises."""
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _refusal(place, f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _refusal(place, "it is nested too deeply for a key file") from None
    except tomllib.TOMLDecodeError as error:
        # Without its cause and beyond its first words: a parser's message may show a value.
        where = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        raise _refusal(place, f"it is not TOML ({where[1] if where else 'damaged'})") from None
    unknown = sorted(document.keys() - {"keys"})
    if unknown:
        raise _refusal(
            place, f"it has {_shown(unknown[0])} at its top; expected only [[keys]] entries"
        )
    entries = document.get("keys")
    if not _is_list_of_tables(entries):
        raise _refusal(place, "it has no [[keys]] entries; where none is meant, write keys = []")
    parsed = tuple(
        _parse_entry(table, place=f"{place}: entry {number}")
        for number, table in enumerate(cast(list[dict[str, Any]], entries), 1)
    )
    require_distinct(parsed, place=place)
    return parsed


def parse_key_list(text: str) -> tuple[KeyEntry, ...]:
    """Reads `MT3_API_KEYS`: ``name:key`` or ``name:sha256:hash``, separated by commas.

    These are the operator's own, with every scope and without limits. A name may come twice, with
    two keys.

    Raises:
        OptionError: It is not that.
    """
    digests: dict[str, tuple[bytes, ...]] = {}
    for number, item in enumerate((part.strip() for part in text.split(",")), 1):
        place = f"MT3_API_KEYS: entry {number}"
        name, separator, key = item.partition(":")
        if not separator:
            raise _refusal(place, "it is not name:key or name:sha256:hash")
        _check_name(name, place)
        if key.startswith("sha256:"):
            digest = parse_digest(key.removeprefix("sha256:"), place=place)
        else:
            digest = hash_key(key, place=place)
        digests[name] = (*digests.get(name, ()), digest)
    entries = tuple(
        KeyEntry(caller=Caller(name=name, scopes=frozenset(Scope)), digests=found)
        for name, found in digests.items()
    )
    require_distinct(entries, place="MT3_API_KEYS")
    return entries


def require_distinct(entries: tuple[KeyEntry, ...], *, place: str) -> None:
    """Refuses a name or a hash that is there twice: which entry would count?

    Raises:
        OptionError: Naming the entries.
    """
    names: set[str] = set()
    holders: dict[bytes, str] = {}
    for entry in entries:
        name = entry.caller.name
        if name in names:
            raise _refusal(
                place, f"{name!r} is there twice; expected one entry with several sha256"
            )
        names.add(name)
        for digest in entry.digests:
            if digest in holders:
                raise _refusal(place, f"{holders[digest]!r} and {name!r} have the same key")
            holders[digest] = name


def _parse_entry(table: Mapping[str, Any], *, place: str) -> KeyEntry:
    name = _check_name(table.get("name"), place)
    place = f"{place} ({name})"
    unknown = sorted(table.keys() - set(_FIELDS))
    if unknown:
        raise _refusal(
            place, f"there is no field {_shown(unknown[0])}; expected {', '.join(_FIELDS)}"
        )
    hashes = table.get("sha256")
    listed = cast(list[object], hashes) if isinstance(hashes, list) else [hashes]
    if hashes is None or not listed:
        raise _refusal(place, "it has no sha256; expected the hash of its key, or a list of them")
    limits = {
        limit: _parse_limit(limit, table[limit], place) for limit in LIMIT_NAMES & table.keys()
    }
    return KeyEntry(
        caller=Caller(
            name=name,
            scopes=_parse_scopes(table["scopes"], place) if "scopes" in table else DEFAULT_SCOPES,
            limits=CallerLimits(**limits),
        ),
        digests=tuple(parse_digest(text, place=place) for text in listed),
        expires=_parse_expiry(table["expires"], place) if "expires" in table else None,
    )


def _check_name(name: object, place: str) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name) and name != ANONYMOUS.name:
        return name
    # Not shown: who mixes up the columns has written a key here.
    found = "no name" if name is None else "a name that cannot be one"
    raise _refusal(
        place,
        f"it has {found}; expected up to 64 letters, digits, '.', '_' and '-', other than"
        f" {ANONYMOUS.name!r}",
    )


def _parse_scopes(value: object, place: str) -> frozenset[Scope]:
    known = {scope.value: scope for scope in Scope}
    listed = cast(list[object], value) if isinstance(value, list) else [None]
    if not listed or not all(isinstance(item, str) and item in known for item in listed):
        raise _refusal(place, f"scopes are not a list of {', '.join(known)}")
    return frozenset(known[str(item)] for item in listed)


def _parse_limit(name: str, value: object, place: str) -> Any:
    whole = name in _WHOLE_LIMITS
    kinds = (int,) if whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    # The comparison refuses nan too.
    if is_number and 0 < cast(float, value) < float("inf"):
        return value
    number = "whole number" if whole else "number"
    raise _refusal(place, f"{name} is {_shown(value)}; expected a {number} above 0")


def _parse_expiry(value: object, place: str) -> datetime.datetime:
    try:
        match value:
            case datetime.datetime(tzinfo=zone) if zone is not None:
                return value.astimezone(datetime.UTC)
            case datetime.date() if not isinstance(value, datetime.datetime):
                day_after = value + datetime.timedelta(days=1)
                return datetime.datetime.combine(day_after, datetime.time(), datetime.UTC)
            case _:
                pass
    except OverflowError:
        raise _refusal(place, "expires lies beyond the calendar; leave it out") from None
    raise _refusal(
        place, "expires is no date like 2027-01-31, nor a time like 2027-01-31T12:00:00Z"
    )


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) for item in cast(list[object], value)
    )


def _shown(value: object) -> str:
    """A value, unless it is a text long enough to be a key in the wrong place."""
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str) and len(value) < MIN_KEY_CHARACTERS:
        return repr(value)
    return f"a {type(value).__name__} that is not shown"


def _refusal(place: str, found: str) -> OptionError:
    return OptionError("api_keys", f"{place}: {found}")
