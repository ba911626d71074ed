"""Reads API keys from the key file and from `MT3_API_KEYS`.

The file is TOML::

    [[keys]]
    name = "alice"                     # shown in logs and metrics; owns the jobs
    sha256 = ["9f86d0...", "60303a..."]   # one hash, or several while a key is replaced
    scopes = ["transcribe", "jobs"]    # the default
    expires = 2027-01-31               # to the end of that day in UTC, or a time with its zone
    max_concurrent_requests = 4        # and the other limits of `CallerLimits`

The file is read strictly: an unknown field may be a misspelled limit, and a limit that is silently
absent is worse than a server that keeps its old keys and logs why. A file without entries must say
so (``keys = []``), because an editor empties a file before it writes it.
"""

import dataclasses
import datetime
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import pydantic
from pydantic_core import PydanticCustomError

from mt3_model.errors import OptionError
from service.auth.api_keys import MIN_KEY_CHARACTERS, Key, hash_key, parse_digest
from service.auth.caller import ANONYMOUS, Caller, CallerLimits, Scope

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DEFAULT_SCOPES = frozenset({Scope.TRANSCRIBE, Scope.JOBS})
"""The scopes of an entry that names none: what a user of the API needs."""
MAX_FILE_BYTES = 2**22
"""Size limit of a key file: room for more than ten thousand keys."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME_EXPECTED = f"up to 64 letters, digits, '.', '_' and '-', other than {ANONYMOUS.name!r}"
LIMIT_NAMES = tuple(field.name for field in dataclasses.fields(CallerLimits))
_WHOLE_LIMITS = frozenset({"max_upload_bytes", "max_concurrent_requests"})
_Limit = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
_WholeLimit = Annotated[int, pydantic.Field(gt=0)]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeyEntry:
    """One ``[[keys]]`` of a file: a caller with all of its hashes."""

    caller: Caller
    digests: tuple[bytes, ...] = dataclasses.field(repr=False)
    expires: datetime.datetime | None = None

    def to_keys(self) -> tuple[Key, ...]:
        """Return a key for each hash."""
        return tuple(
            Key(digest=digest, caller=self.caller, expires=self.expires) for digest in self.digests
        )


def read_key_file(path: Path) -> tuple[KeyEntry, ...]:
    """Read a key file.

    Raises:
        OptionError: it cannot be read or is not a key file. The message names the file, the entry,
            what was found and what was expected, and shows neither a key nor a hash.
    """
    try:
        # A pipe would block, and a device could fill the memory.
        if not path.is_file():
            found = "there is no such file" if not path.exists() else "it is not a plain file"
            raise _refusal(str(path), f"{found}; expected a key file (mt3 keys new creates one)")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refusal(str(path), f"it cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refusal(str(path), f"it is larger than {MAX_FILE_BYTES:,} bytes")
    return parse_key_file(content, place=str(path))


def parse_key_file(content: bytes, *, place: str) -> tuple[KeyEntry, ...]:
    """Parse a key file's content; raises as `read_key_file` does."""
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
            place, f"it has {_shown(unknown[0])} at its top level; expected only [[keys]] entries"
        )
    entries = document.get("keys")
    if not _is_list_of_tables(entries):
        raise _refusal(place, "it has no [[keys]] entries; if none is intended, write keys = []")
    parsed = tuple(
        _parse_entry(table, place=f"{place}: entry {number}")
        for number, table in enumerate(cast(list[dict[str, Any]], entries), 1)
    )
    require_distinct(parsed, place=place)
    return parsed


def parse_key_list(text: str) -> tuple[KeyEntry, ...]:
    """Parse `MT3_API_KEYS`: ``name:key`` or ``name:sha256:hash``, separated by commas.

    These are the operator's own, with every scope and without limits. A name may come twice, with
    two keys.

    Raises:
        OptionError: an entry has another form.
    """
    digests: dict[str, tuple[bytes, ...]] = {}
    for number, item in enumerate((part.strip() for part in text.split(",")), 1):
        place = f"MT3_API_KEYS: entry {number}"
        name, separator, key = item.partition(":")
        if not separator:
            raise _refusal(place, "it is not name:key or name:sha256:hash")
        try:
            _check_name(name)
        except ValueError:
            found = f"it has an invalid name; expected {_NAME_EXPECTED}"
            raise _refusal(place, found) from None
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
    """Refuse a name or a hash that occurs twice.

    Raises:
        OptionError: the message names the entries.
    """
    names: set[str] = set()
    holders: dict[bytes, str] = {}
    for entry in entries:
        name = entry.caller.name
        if name in names:
            raise _refusal(place, f"{name!r} appears twice; expected one entry with several sha256")
        names.add(name)
        for digest in entry.digests:
            if digest in holders:
                raise _refusal(place, f"{holders[digest]!r} and {name!r} have the same key")
            holders[digest] = name


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) and name != ANONYMOUS.name:
        return name
    raise ValueError


def _listed(value: object) -> object:
    return tuple(cast(list[object], value)) if isinstance(value, list) else (value,)


def _read_scopes(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004 (pydantic takes ValueError)
    return frozenset(Scope(item) for item in cast(list[object], value))


def _read_expiry(value: object) -> datetime.datetime:
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
        raise PydanticCustomError(
            "expires", "expires is later than any date of the calendar; leave it out"
        ) from None
    raise PydanticCustomError(
        "expires", "expires is neither a date like 2027-01-31 nor a time like 2027-01-31T12:00:00Z"
    )


class _Entry(pydantic.BaseModel):
    """One ``[[keys]]`` table, as it is written."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, pydantic.AfterValidator(_check_name)]
    sha256: Annotated[
        tuple[str, ...], pydantic.BeforeValidator(_listed), pydantic.Field(min_length=1)
    ]
    scopes: Annotated[
        frozenset[Scope], pydantic.BeforeValidator(_read_scopes), pydantic.Field(min_length=1)
    ] = DEFAULT_SCOPES
    expires: Annotated[datetime.datetime | None, pydantic.BeforeValidator(_read_expiry)] = None
    max_upload_bytes: _WholeLimit | None = None
    max_audio_seconds: _Limit | None = None
    max_concurrent_requests: _WholeLimit | None = None
    max_waiting_audio_seconds: _Limit | None = None


def _parse_entry(table: Mapping[str, Any], *, place: str) -> KeyEntry:
    try:
        entry = _Entry.model_validate(table)
    except pydantic.ValidationError as error:
        # Without its cause, which may show a key.
        raise _entry_refusal(error.errors(include_url=False)[0], table, place) from None
    place = f"{place} ({entry.name})"
    return KeyEntry(
        caller=Caller(
            name=entry.name,
            scopes=entry.scopes,
            limits=CallerLimits(**{limit: getattr(entry, limit) for limit in LIMIT_NAMES}),
        ),
        digests=tuple(parse_digest(text, place=place) for text in entry.sha256),
        expires=entry.expires,
    )


def _entry_refusal(error: "ErrorDetails", table: Mapping[str, Any], place: str) -> OptionError:
    """Turn a validation error into a message that shows no value which could be a key."""
    field = str(error["loc"][0])
    if field == "name":
        found = "no name" if "name" not in table else "an invalid name"
        return _refusal(place, f"it has {found}; expected {_NAME_EXPECTED}")
    place = f"{place} ({table['name']})"
    if error["type"] == "extra_forbidden":
        expected = ", ".join(_Entry.model_fields)
        return _refusal(place, f"there is no field {_shown(field)}; expected {expected}")
    return _refusal(place, _field_problem(field, table, error))


def _field_problem(field: str, table: Mapping[str, Any], error: "ErrorDetails") -> str:
    if field == "sha256":
        is_absent = error["type"] != "string_type"
        found = "it has no sha256" if is_absent else "its sha256 is not text"
        return f"{found}; expected the hash of its key, or a list of them"
    if field == "scopes":
        known = ", ".join(scope.value for scope in Scope)
        return f"scopes are not a list of {known}"
    if field == "expires":
        return str(error["msg"])
    number = "whole number" if field in _WHOLE_LIMITS else "number"
    return f"{field} is {_shown(table[field])}; expected a {number} above 0"


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) for item in cast(list[object], value)
    )


def _shown(value: object) -> str:
    """Return a value's representation, unless it is text long enough to be a key."""
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str) and len(value) < MIN_KEY_CHARACTERS:
        return repr(value)
    return f"a {type(value).__name__} that is not shown"


def _refusal(place: str, found: str) -> OptionError:
    return OptionError("api_keys", f"{place}: {found}")
