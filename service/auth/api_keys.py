"""API keys, kept as hashes: a key presented -> the caller who holds it, or nobody.

A key is 256 random bits (`generate_key`), so one SHA-256 is the right hash: the slow ones (bcrypt,
Argon2) make guesses of *passwords* dear, and nobody guesses 256 bits however cheap a guess is;
here they would only make refusing strangers dear. That holds for random keys alone, so a key that
is too short to be one is refused when it is read (`hash_key`). Who reads the key file finds no key
in it.
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
"""So that a person, or a scanner of leaked secrets, sees what it is."""
MIN_KEY_CHARACTERS = 32
"""Of a key made elsewhere: 32 hexadecimal digits are 128 bits, beyond any guessing."""
FINGERPRINT_CHARACTERS = 8
"""Of a hash, to tell keys apart in lists and logs: 32 bits say nothing of the key."""
_KEY_BYTES = 32
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key of a caller, who may have several: the old and the new while they are exchanged."""

    digest: bytes = dataclasses.field(repr=False)
    """SHA-256 of the key's text."""
    caller: Caller
    expires: datetime.datetime | None = None
    """When it opens nothing any more; with a time zone."""

    def __post_init__(self) -> None:
        assert len(self.digest) == _DIGEST_BYTES
        assert self.expires is None or self.expires.tzinfo is not None

    @property
    def fingerprint(self) -> str:
        """The hash's first digits."""
        return self.digest.hex()[:FINGERPRINT_CHARACTERS]


class KeyRing:
    """All keys at one moment; never changed, but replaced whole."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find_caller(self, presented: str, now: datetime.datetime) -> Caller | None:
        """Tells whose key it is.

        Every key is compared, whole, whatever was presented and whichever matched: the time taken
        tells neither how much of a key was right nor which caller's it was.

        Args:
            presented: What the request holds; may be empty or any text at all.
            now: With a time zone.

        Returns:
            The caller; absent where no key that counts matches.
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
        """Gives the limits of a caller by name; none of a name that has no key (any more)."""
        return next((k.caller.limits for k in self._keys if k.caller.name == name), CallerLimits())


def generate_key() -> str:
    """Makes a new key: the prefix and 43 URL-safe characters, 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: str) -> bytes:
    """Gives the SHA-256 of a key's text."""
    # What arrives in a header may hold any byte: nothing it holds may raise.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def hash_key(key: str, *, place: str) -> bytes:
    """Hashes a key that somebody chose.

    Args:
        key: In plain.
        place: Where it was read, for the message, which never shows the key.

    Raises:
        OptionError: It is too short to be random, or holds what a header cannot.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        raise OptionError(
            "api_keys",
            f"{place} has a key of {len(key)} characters; expected {MIN_KEY_CHARACTERS} or more,"
            " all random (mt3 keys new makes one)",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise OptionError(
            "api_keys",
            f"{place} has a key with characters that no header can carry; expected letters,"
            " digits and signs (mt3 keys new makes one)",
        )
    return digest_of(key)


def parse_digest(text: object, *, place: str) -> bytes:
    """Reads a hash as it is written in key files: 64 hexadecimal digits.

    Raises:
        OptionError: It is not that; the message does not show it, for it may be a key.
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
        " SHA-256 of the key and never the key itself (mt3 keys new writes it)",
    )
