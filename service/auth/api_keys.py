"""API keys, kept as hashes; looks up the caller of a presented key.

A key is 256 random bits (`generate_key`), so one SHA-256 is the right hash. Slow hashes (bcrypt,
Argon2) make guesses of *passwords* expensive; 256 random bits cannot be guessed at any price, and a
slow hash would only make refusing strangers expensive. This holds for random keys only, so a key
that is too short is refused when it is read (`hash_key`). The key file holds no keys.
"""

import dataclasses
import datetime
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from mt3_model.errors import OptionError
from service.auth.caller import Caller, CallerLimits

KEY_PREFIX = "mt3_"
"""Identifies a key to people and to scanners of leaked secrets."""
MIN_KEY_CHARACTERS = 32
"""Minimum length of a key made elsewhere: 32 hexadecimal digits are 128 bits."""
FINGERPRINT_CHARACTERS = 8
"""Digits of a hash shown in lists and logs: 32 bits reveal nothing about the key."""
_KEY_BYTES = 32
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key of a caller; a caller has several while keys are replaced."""

    digest: bytes = dataclasses.field(repr=False)
    """SHA-256 of the key's text."""
    caller: Caller
    expires: datetime.datetime | None = None
    """End of its validity, with a time zone."""

    def __post_init__(self) -> None:
        assert len(self.digest) == _DIGEST_BYTES
        assert self.expires is None or self.expires.tzinfo is not None

    @property
    def fingerprint(self) -> str:
        """First digits of the hash."""
        return self.digest.hex()[:FINGERPRINT_CHARACTERS]


class KeyRing:
    """An immutable set of keys."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find_caller(self, presented: str, now: datetime.datetime) -> Caller | None:
        """Return the caller of a presented key.

        Every key is compared in full, whichever matches: the time taken reveals neither how much of
        a key was right nor whose it was.

        Args:
            presented: the key in the request; may be any text.
            now: the current time, with a time zone.

        Returns:
            The caller; None if no valid key matches.
        """
        digest = digest_of(presented)
        found: Caller | None = None
        for key in self._keys:
            is_same = hmac.compare_digest(key.digest, digest)
            is_current = key.expires is None or now < key.expires
            if is_same and is_current:
                found = key.caller
        return found

    def limits_of(self, name: str) -> CallerLimits:
        """Return the limits of a caller by name; no limits for a name without a key."""
        return next((k.caller.limits for k in self._keys if k.caller.name == name), CallerLimits())


def generate_key() -> str:
    """Return a new key: the prefix and 43 URL-safe characters, 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key's text."""
    # A header may hold any byte; none may raise.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def hash_key(key: str, *, place: str) -> bytes:
    """Hash a key made elsewhere.

    Args:
        key: the key in plain text.
        place: source of the key, for the message, which never shows the key.

    Raises:
        OptionError: it is too short to be random, or has characters that a header cannot carry.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        raise OptionError(
            "api_keys",
            f"{place} has a key of {len(key)} characters; expected {MIN_KEY_CHARACTERS} or more"
            " random ones (mt3 keys new creates a key)",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise OptionError(
            "api_keys",
            f"{place} has a key with characters that are not allowed in a header; expected letters,"
            " digits and punctuation (mt3 keys new creates a key)",
        )
    return digest_of(key)


def parse_digest(text: object, *, place: str) -> bytes:
    """Parse a hash as written in key files: 64 hexadecimal digits.

    Raises:
        OptionError: it is not a hash; the message does not show it, because it may be a key.
    """
    if isinstance(text, str) and len(text) == 2 * _DIGEST_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    found = f"{len(text)} characters" if isinstance(text, str) else f"a {type(text).__name__}"
    raise OptionError(
        "api_keys",
        f"{place} has a sha256 of {found}; expected {2 * _DIGEST_BYTES} hexadecimal digits, the"
        " SHA-256 of the key, not the key itself (mt3 keys new writes it)",
    )
