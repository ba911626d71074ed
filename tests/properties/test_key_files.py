"""Every key file is read or refused, and the files of `mt3 keys` are read."""

import contextlib
import datetime
import tempfile
import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mt3_model.errors import OptionError
from service.auth.api_keys import digest_of
from service.auth.caller import Scope
from service.auth.key_editing import add_key, revoke
from service.auth.key_file import parse_key_file, parse_key_list, read_key_file
from tests.examples import examples

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True).filter(
    lambda name: name != "anonymous"
)
FIELDS = st.sampled_from(["name", "sha256", "scopes", "expires", "max_upload_bytes", "other"])
VALUES = st.sampled_from(
    ['"alice"', f'"{"0" * 64}"', '["jobs"]', "[[]]", "2027-01-31", "0001-01-01T00:00:00+14:00",
     "12:00:00", "nan", "-inf", "1e400", "9223372036854775808", "true", "{}", '""'],
)  # fmt: skip
TABLES = st.lists(st.lists(st.tuples(FIELDS, VALUES), unique_by=lambda pair: pair[0]))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    with contextlib.suppress(OptionError):
        parse_key_file(content, place="keys.toml")


@given(TABLES)
def test_any_entries_are_read_or_refused(tables):
    text = "".join(
        "[[keys]]\n" + "".join(f"{name} = {value}\n" for name, value in table) for table in tables
    )
    tomllib.loads(text)
    with contextlib.suppress(OptionError):
        parse_key_file(text.encode(), place="keys.toml")


@given(st.text(max_size=200))
def test_any_list_is_read_or_refused(text):
    with contextlib.suppress(OptionError):
        parse_key_list(text)


@settings(max_examples=examples(50))  # each writes and reads the file up to a dozen times
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=8)), unique_by=lambda pair: pair[1], max_size=6),
    st.sets(st.sampled_from(list(Scope))),
    st.none() | st.dates(max_value=datetime.date(9999, 12, 30)),
)
def test_what_is_written_is_read_and_revoked_again(pairs, scopes, expires):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.toml"
        for name, seed in pairs:
            known = path.exists() and name in {e.caller.name for e in read_key_file(path)}
            digest = digest_of(seed.hex())
            if known:
                add_key(path, name, digest)
            else:
                add_key(path, name, digest, scopes=scopes, expires=expires)
        if pairs:
            written = {
                (key.caller.name, key.digest) for e in read_key_file(path) for key in e.to_keys()
            }
            assert written == {(name, digest_of(seed.hex())) for name, seed in pairs}
        for name in {name for name, _ in pairs}:
            revoke(path, name=name, fingerprint=None)
        if pairs:
            assert read_key_file(path) == ()
