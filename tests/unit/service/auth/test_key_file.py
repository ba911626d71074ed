"""The key file is read strictly, and errors do not show its content."""

import datetime
import hashlib

import pytest

from mt3_model.errors import OptionError
from service.auth.caller import Caller, CallerLimits, Scope
from service.auth.key_file import MAX_FILE_BYTES, parse_key_file, parse_key_list, read_key_file

SECRET = "mt3_" + "s" * 43
DIGEST = hashlib.sha256(SECRET.encode()).digest()
HASH = DIGEST.hex()
OTHER = "0" * 64


def parse(text):
    return parse_key_file(text.encode(), place="keys.toml")


def entry(*lines, name="alice", digest=f'"{HASH}"'):
    return "\n".join(["[[keys]]", f'name = "{name}"', f"sha256 = {digest}", *lines, ""])


def test_a_whole_entry_is_read():
    (found,) = parse(
        entry(
            'scopes = ["jobs", "metrics"]', "expires = 2027-01-31T12:00:00+02:00",
            "max_upload_bytes = 1000", "max_audio_seconds = 600.5", "max_concurrent_requests = 4",
            "max_waiting_audio_seconds = 3600",
            digest=f'["{HASH}", "{OTHER}"]',
        )
    )  # fmt: skip
    assert found.caller == Caller(
        name="alice",
        scopes=frozenset({Scope.JOBS, Scope.METRICS}),
        limits=CallerLimits(
            max_upload_bytes=1_000, max_audio_seconds=600.5, max_concurrent_requests=4,
            max_waiting_audio_seconds=3_600,
        ),
    )  # fmt: skip
    assert found.expires == datetime.datetime(2027, 1, 31, 10, tzinfo=datetime.UTC)
    assert [key.digest for key in found.to_keys()] == [DIGEST, bytes(32)]


def test_a_short_entry_opens_transcriptions_and_jobs_for_ever():
    (found,) = parse(entry())
    assert found.caller.scopes == {Scope.TRANSCRIBE, Scope.JOBS}
    assert found.caller.limits == CallerLimits()
    assert found.expires is None


def test_a_day_of_expiry_counts_to_its_end():
    (found,) = parse(entry("expires = 2026-12-31"))
    assert found.expires == datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def test_no_keys_must_be_said():
    assert parse("keys = []") == ()
    for text in ("", "# nothing\n", "keys = 3", "keys = [1]"):
        with pytest.raises(OptionError, match=r"keys = \[\]"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'key = "{SECRET}"\n{entry()}', "at its top"),
        (f'{SECRET} = "alice"', "at its top"),
        (f'[[keys]]\nname = "alice"\nsha256 = "{SECRET}"', r"entry 1 \(alice\).*64 hexadecimal"),
        (f'[[keys]]\nname = "{SECRET} "\nsha256 = "{HASH}"', "entry 1: it has an invalid name"),
        (f'[[keys]]\nsha256 = "{HASH}"', "it has no name"),
        (entry(name="anonymous"), "other than 'anonymous'"),
        ('[[keys]]\nname = "alice"', "it has no sha256"),
        (entry(digest="[]"), "it has no sha256"),
        (entry() + entry(digest=f'"{OTHER}"'), "'alice' appears twice"),
        (entry() + entry(name="bob"), "'alice' and 'bob' have the same key"),
        (entry(digest=f'["{HASH}", "{HASH}"]'), "have the same key"),
        (entry("max_upload_byte = 3"), "no field 'max_upload_byte'; expected name"),
        (entry(f'{SECRET} = "x"'), "no field a str that is not shown"),
        (entry("max_upload_bytes = 0"), "max_upload_bytes is 0; expected a whole number above 0"),
        (entry("max_upload_bytes = 1.5"), "max_upload_bytes is 1.5; expected a whole number"),
        (entry("max_audio_seconds = nan"), "max_audio_seconds is nan; expected a number"),
        (entry("max_audio_seconds = inf"), "max_audio_seconds is inf"),
        (entry("max_concurrent_requests = true"), "max_concurrent_requests is True"),
        (entry(f'max_upload_bytes = "{SECRET}"'), "max_upload_bytes is a str that is not shown"),
        (entry('scopes = "jobs"'), "not a list of transcribe, jobs, metrics"),
        (entry("scopes = []"), "not a list of"),
        (entry('scopes = ["admin"]'), "not a list of"),
        (entry("scopes = [[]]"), "not a list of"),
        (entry("expires = 2027-01-31T12:00:00"), "expires is neither a date"),
        (entry('expires = "2027-01-31"'), "expires is neither a date"),
        (entry("expires = 9999-12-31"), "later than any date"),
        (entry("expires = 9999-12-31T23:59:59-12:00"), "later than any date"),
        ("keys = " + "[" * 100_000, "nested too deeply|not TOML"),
        (entry("expires = 12:00:00"), "expires is neither a date"),
        (f'[[keys]]\nname = "alice\nsha256 = "{HASH}"', r"not TOML \(line 2"),
        (f'[[keys]]\nname = "alice"\nsha256 = {SECRET}', "not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_no_secret_shown(text, said):
    with pytest.raises(OptionError, match=said) as refusal:
        parse(text)
    error = refusal.value
    while error is not None:  # causes are logged with it
        assert SECRET not in str(error)
        assert HASH not in str(error)
        error = error.__cause__
    assert str(refusal.value).startswith("keys.toml: ")


def test_a_file_that_is_not_text_is_refused():
    with pytest.raises(OptionError, match="not UTF-8"):
        parse_key_file(b"\xff\xfe", place="keys.toml")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(OptionError, match="no such file"):
        read_key_file(tmp_path / "missing.toml")
    with pytest.raises(OptionError, match="not a plain file"):
        read_key_file(tmp_path)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(OptionError, match="larger than 4,194,304 bytes"):
        read_key_file(large)


def test_the_environments_keys_open_everything():
    listed = parse_key_list(f"alice:{SECRET}, bob:sha256:{OTHER},alice:sha256:{'1' * 64}")
    assert [found.caller.name for found in listed] == ["alice", "bob"]
    assert [found.digests for found in listed] == [(DIGEST, b"\x11" * 32), (bytes(32),)]
    assert all(found.caller.scopes == set(Scope) for found in listed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "entry 1: it is not name:key"),
        (SECRET, "entry 1: it is not name:key"),
        (f"alice:{SECRET},", "entry 2: it is not name:key"),
        ("alice:hunter2", "a key of 7 characters; expected 32"),
        (f"alice:sha256:{SECRET}", "64 hexadecimal"),
        (f"al ice:{SECRET}", "an invalid name"),
        (f"alice:{SECRET},bob:{SECRET}", "have the same key"),
    ],
)
def test_a_wrong_list_is_named_and_no_secret_shown(text, said):
    with pytest.raises(OptionError, match=said) as refusal:
        parse_key_list(text)
    assert SECRET not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
