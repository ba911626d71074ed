"""Keys as hashes: they identify callers, and no message contains a key."""

import datetime
import hashlib
import re

import pytest

from mt3_model.errors import OptionError
from service.auth import api_keys as keys_module
from service.auth.api_keys import Key, KeyRing, digest_of, generate_key, hash_key, parse_digest
from service.auth.caller import Caller, Scope

NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
KEYS = [f"mt3_{letter * 43}" for letter in "abc"]


def caller(name):
    return Caller(name=name, scopes=frozenset({Scope.TRANSCRIBE}))


def ring(*, expires=None):
    names = ("alice", "bob", "alice")
    return KeyRing(
        Key(digest=digest_of(key), caller=caller(name), expires=expires)
        for key, name in zip(KEYS, names, strict=True)
    )


def test_a_new_key_is_256_random_bits_behind_our_prefix():
    made = {generate_key() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"mt3_[A-Za-z0-9_-]{43}", key) for key in made)


def test_each_key_finds_its_caller_old_and_new_alike():
    assert [ring().find_caller(key, NOON).name for key in KEYS] == ["alice", "bob", "alice"]


@pytest.mark.parametrize("presented", ["", "mt3_", KEYS[0][:-1], KEYS[0] + "a", KEYS[0].upper()])
def test_what_is_not_quite_a_key_finds_nobody(presented):
    assert ring().find_caller(presented, NOON) is None


@pytest.mark.parametrize("presented", ["\udc80\udcff", "\x00" * 1_000, "ключ", "x" * 100_000])
def test_any_text_at_all_can_be_asked_about(presented):
    assert ring().find_caller(presented, NOON) is None


def test_the_hash_of_a_key_is_no_key():
    assert ring().find_caller(digest_of(KEYS[0]).hex(), NOON) is None


def test_a_key_ends_at_its_expiry():
    late = ring(expires=NOON)
    just_before = NOON - datetime.timedelta(microseconds=1)
    assert late.find_caller(KEYS[0], just_before).name == "alice"
    assert late.find_caller(KEYS[0], NOON) is None


@pytest.mark.parametrize("presented", [KEYS[0], KEYS[2], "", "nobody's"])
def test_every_key_is_compared_whole_whatever_was_presented(monkeypatch, presented):
    compared = []

    def compare(ours, theirs):
        compared.append((ours, theirs))
        return ours == theirs

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    ring().find_caller(presented, NOON)
    sent = hashlib.sha256(presented.encode()).digest()
    assert compared == [(digest_of(key), sent) for key in KEYS]


def test_neither_key_nor_hash_is_in_what_is_printed():
    key = Key(digest=digest_of(KEYS[0]), caller=caller("alice"))
    assert "alice" in repr(key)
    assert KEYS[0] not in repr(key)
    assert key.digest.hex() not in repr(key)
    assert repr(key.digest) not in repr(key)


@pytest.mark.parametrize(
    "key", ["hunter2", "x" * 31, "x" * 40 + " ", "x" * 40 + "ü", "x" * 40 + "\n"]
)
def test_a_key_that_cannot_be_random_or_sent_is_refused_unseen(key):
    with pytest.raises(OptionError) as refusal:
        hash_key(key, place="here")
    assert key not in str(refusal.value)


def test_a_key_made_elsewhere_is_taken_when_it_is_long_enough():
    assert hash_key("0123456789abcdef" * 2, place="here") == digest_of("0123456789abcdef" * 2)


@pytest.mark.parametrize("text", [KEYS[0], "ab" * 31, "zz" * 32, "", 7, None, ["ab" * 32]])
def test_what_is_no_hash_is_refused_unseen(text):
    with pytest.raises(OptionError, match="64 hexadecimal") as refusal:
        parse_digest(text, place="here")
    assert not text or str(text) not in str(refusal.value)
