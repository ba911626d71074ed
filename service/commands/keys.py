"""`mt3 keys`: create, list and revoke API keys.

A key is shown once, when it is created, alone on standard output so that it can be piped; the file
stores only its hash. To rotate a key without a gap: `new` with the same name, install the new key,
`revoke --hash` the old one. A running server reads the changed file within seconds.
"""

import argparse
import datetime
import json
from pathlib import Path

from mt3_model.errors import OptionError
from service.auth.api_keys import digest_of, generate_key
from service.auth.caller import CallerLimits, Scope
from service.auth.key_editing import add_key, describe_entry, revoke
from service.auth.key_file import LIMIT_NAMES, KeyEntry, parse_key_file, read_key_file
from service.commands.command_settings import read_settings
from service.commands.terminal import EXIT_DONE, complain, say


def keys(parsed: argparse.Namespace) -> int:
    """Run one action; return the exit code."""
    match parsed.action:
        case "new":
            return _new(parsed)
        case "list":
            return _list(parsed)
        case _:
            return _revoke(parsed)


def _new(parsed: argparse.Namespace) -> int:
    scopes = frozenset(Scope(name) for name in parsed.scope or ())
    expires = _parse_last_day(parsed.expires)
    key = generate_key()
    digest = digest_of(key)
    entry = describe_entry(parsed.name, digest, scopes=scopes, expires=expires)
    parse_key_file(entry.encode("utf-8"), place="the new entry")  # raises for an invalid name
    path = _file_of(parsed)
    if path is None:
        complain(f"no --file and no MT3_API_KEYS_FILE; put this into your key file:\n\n{entry}")
    elif add_key(path, parsed.name, digest, scopes=scopes, expires=expires):
        complain(
            f"{path}: another key for {parsed.name}; once it is in use, revoke the old one:"
            f" mt3 keys list --file {path}"
        )
    else:
        complain(f"{path}: a new key for {parsed.name}; it is shown only once")
    say(key)
    return EXIT_DONE


def _list(parsed: argparse.Namespace) -> int:
    now = datetime.datetime.now(datetime.UTC)
    for entry in read_key_file(_require_file(parsed)):
        for key in entry.to_keys():
            say(f"{entry.caller.name:20} {key.fingerprint}  {_describe(entry, now)}")
    return EXIT_DONE


def _revoke(parsed: argparse.Namespace) -> int:
    if parsed.name is None and parsed.hash is None:
        raise OptionError("name", "expected --name, --hash, or both")
    path = _require_file(parsed)
    read_key_file(path)  # raises for a missing file, which `revoke` would create
    count = revoke(path, name=parsed.name, fingerprint=parsed.hash)
    complain(f"{path}: {count} key{'' if count == 1 else 's'} revoked")
    return EXIT_DONE


def _describe(entry: KeyEntry, now: datetime.datetime) -> str:
    """Return a key's scopes, expiry and limits in one line."""
    parts = [",".join(scope.value for scope in Scope if scope in entry.caller.scopes)]
    if entry.expires is not None:
        word = "expired" if entry.expires <= now else "expires"
        parts.append(f"{word} {entry.expires.astimezone(datetime.UTC):%Y-%m-%dT%H:%MZ}")
    limits: CallerLimits = entry.caller.limits
    values = {name: getattr(limits, name) for name in LIMIT_NAMES}
    parts += [f"{name}={json.dumps(value)}" for name, value in values.items() if value is not None]
    return " ".join(parts)


def _parse_last_day(text: str | None) -> datetime.date | None:
    """Parse the last day of a key, which lasts to the end of that day in UTC."""
    if text is None:
        return None
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise OptionError(
            "expires", f"expires is {text!r}; expected a day like {_next_year(today)}"
        ) from error
    if day < today:
        raise OptionError(
            "expires",
            f"expires is {text}, which is past; expected the key's last day: {today} (today in"
            f" UTC) or a later one, like {_next_year(today)}",
        )
    return day


def _next_year(day: datetime.date) -> datetime.date:
    return datetime.date(day.year + 1, 12, 31)


def _file_of(parsed: argparse.Namespace) -> Path | None:
    """Return the file of the option, else of the setting."""
    return parsed.file if parsed.file is not None else read_settings(parsed).api_keys_file


def _require_file(parsed: argparse.Namespace) -> Path:
    path = _file_of(parsed)
    if path is None:
        raise OptionError("file", "expected --file, or MT3_API_KEYS_FILE in the environment")
    return path
