"""The current keys: the file is reloaded when it changes, and no file admits everyone."""

import datetime
import json
import logging
import os

import pytest

from mt3_model.errors import OptionError
from service.auth.api_keys import digest_of
from service.auth.caller import ANONYMOUS
from service.auth.key_store import KeyStore
from service.errors import AuthenticationError
from service.observability.metrics import Metrics
from tests.unit.service.metric_values import sample
from tests.waiting import until

OLD, NEW, LISTED = ("mt3_" + letter * 43 for letter in "onl")
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)


def write(path, *keys, name="alice", lines=()):
    hashes = json.dumps([digest_of(key).hex() for key in keys])
    text = "\n".join(["[[keys]]", f'name = "{name}"', f"sha256 = {hashes}", *lines, ""])
    path.write_text(text if keys else "keys = []")
    path.chmod(0o600)
    # The clock of some file systems is coarser than this test.
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1 + len(text)))


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "keys.toml"
    write(file, OLD)
    return file


def opens(store, key):
    try:
        store.authenticate(key)
    except AuthenticationError:
        return False
    return True


def reloads(metrics, outcome):
    return sample(metrics, "mt3_key_reloads_total", outcome=outcome)


def test_without_keys_everybody_is_one_caller():
    store = KeyStore()
    assert not store.are_required
    assert store.authenticate(None) is ANONYMOUS
    assert store.authenticate("anything") is ANONYMOUS


def test_keys_of_file_and_environment_count_together(path):
    metrics = Metrics()
    store = KeyStore(path, f"ops:{LISTED}", metrics=metrics)
    assert store.authenticate(OLD).name == "alice"
    assert store.authenticate(LISTED).name == "ops"
    assert sample(metrics, "mt3_api_keys") == 2


def test_every_refusal_says_the_same(path):
    write(path, OLD, lines=["expires = 2026-11-20"])
    store = KeyStore(path, f"ops:{LISTED}", now=lambda: NOON)
    words = set()
    for presented in (None, "", "wrong", OLD, LISTED[:-1], digest_of(LISTED).hex()):
        with pytest.raises(AuthenticationError) as refusal:
            store.authenticate(presented)
        words.add(str(refusal.value))
    assert len(words) == 1


def test_no_key_opens_even_if_a_hash_of_nothing_is_in_the_file(path):
    write(path, "")
    assert not opens(KeyStore(path), None)


def test_a_changed_file_is_read_again(path):
    metrics = Metrics()
    store = KeyStore(path, metrics=metrics)
    write(path, OLD, NEW)
    store.refresh()
    assert opens(store, OLD)  # the overlap
    assert opens(store, NEW)
    write(path, NEW)
    store.refresh()
    assert not opens(store, OLD)
    assert opens(store, NEW)
    assert (reloads(metrics, "loaded"), sample(metrics, "mt3_api_keys")) == (2, 1)


def test_an_unchanged_file_is_read_again_only_when_asked(path):
    metrics = Metrics()
    store = KeyStore(path, metrics=metrics)
    store.refresh()
    assert reloads(metrics, "loaded") == 0
    store.refresh(always=True)
    assert reloads(metrics, "loaded") == 1


@pytest.mark.parametrize("content", [b"", b"[[keys]]", b"\xff", b"keys = 1", None])
def test_a_file_that_is_emptied_damaged_or_gone_keeps_the_keys_and_opens_nothing(
    path, content, caplog
):
    metrics = Metrics()
    store = KeyStore(path, metrics=metrics)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        store.refresh()
    assert store.are_required
    assert opens(store, OLD)
    assert not opens(store, None)
    assert not opens(store, NEW)
    assert reloads(metrics, "failed") == 1
    assert [record.message for record in caplog.records] == ["keys_reload_failed"]
    write(path, NEW)
    store.refresh()
    assert opens(store, NEW)


def test_a_file_that_says_it_has_no_keys_shuts_everybody_out(path):
    store = KeyStore(path)
    write(path)
    store.refresh()
    assert not opens(store, OLD)
    assert not opens(store, None)
    assert store.are_required


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_server_does_not_start_on_a_file_that_cannot_be_used(path, content):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(OptionError):
        KeyStore(path)


def test_an_empty_list_in_the_environment_is_no_open_door():
    with pytest.raises(OptionError):
        KeyStore(key_list="")


def test_a_name_in_both_places_is_refused(path):
    with pytest.raises(OptionError, match="'alice' appears twice"):
        KeyStore(path, f"alice:{LISTED}")


def test_a_key_expires_while_the_server_runs(path):
    moments = [NOON]
    write(path, OLD, lines=["expires = 2026-11-21T13:00:00Z"])
    store = KeyStore(path, now=lambda: moments[-1])
    assert opens(store, OLD)
    moments.append(NOON + datetime.timedelta(hours=1))
    assert not opens(store, OLD)


def test_a_file_that_others_can_read_is_warned_of(path, caplog):
    KeyStore(path)
    assert not caplog.records
    path.chmod(0o644)
    KeyStore(path)
    (record,) = caplog.records
    assert record.message == "keys_file_readable_by_others"
    assert record.levelno == logging.WARNING


async def test_the_file_is_watched(path):
    metrics = Metrics()
    store = KeyStore(path, poll_seconds=0.02, metrics=metrics)
    await store.start()
    replaced = path.with_name("new")
    write(replaced, NEW)
    replaced.replace(path)  # as editors and `mt3 keys` do
    await until(lambda: opens(store, NEW))
    path.unlink()
    await until(lambda: sample(metrics, "mt3_key_reloads_total", outcome="failed"))
    write(path, OLD)
    await until(lambda: opens(store, OLD))
    await store.stop()


async def test_asking_does_not_wait_for_the_next_look(path):
    metrics = Metrics()
    store = KeyStore(path, metrics=metrics, poll_seconds=60)
    store.ask_to_reload()  # before the start: nothing to do, nothing to break
    await store.start()
    store.ask_to_reload()
    await until(lambda: reloads(metrics, "loaded") == 1)
    await store.stop()
    store.ask_to_reload()
