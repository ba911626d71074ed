"""`mt3 keys`: a key is shown once, its hash is stored, and edits keep the file's layout."""

import datetime
import stat
import tomllib

import pytest

from service.auth.api_keys import digest_of
from service.auth.caller import Scope
from service.auth.key_file import read_key_file
from service.auth.key_store import KeyStore
from service.cli import SCOPE_NAMES, main
from service.errors import AuthenticationError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


@pytest.fixture
def run(path, capsys):
    """Return a function that runs the command on the file and returns exit code, output and
    messages."""

    def run(*arguments, file=path):
        code = main(["keys", *arguments, *(["--file", str(file)] if file else [])])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_a_new_key_opens_and_only_its_hash_is_kept(run, path):
    code, out, err = run("new", "--name", "alice")
    key = out.strip()
    assert code == 0
    assert out == f"{key}\n"  # alone, for a pipe
    assert KeyStore(path).authenticate(key).name == "alice"
    assert key not in path.read_text() + err
    assert digest_of(key).hex() in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_scopes_and_expiry_are_written(run, path):
    run("new", "--name", "watch", "--scope", "metrics", "--expires", "2999-01-31")
    (entry,) = read_key_file(path)
    assert entry.caller.scopes == {Scope.METRICS}
    assert entry.expires == datetime.datetime(2999, 2, 1, tzinfo=datetime.UTC)


def test_a_key_that_would_never_be_valid_is_refused(run, path):
    now = datetime.datetime.now(datetime.UTC)
    yesterday, tomorrow = (now + datetime.timedelta(days=days) for days in (-1, 1))
    code, out, err = run("new", "--name", "alice", "--expires", f"{yesterday:%Y-%m-%d}")
    assert (code, out) == (2, "")
    assert "which is past; expected the key's last day" in err
    assert not path.exists()
    assert run("new", "--name", "alice", "--expires", f"{tomorrow:%Y-%m-%d}")[0] == 0


def test_a_key_is_exchanged_without_a_gap(run, path):
    old = run("new", "--name", "alice")[1].strip()
    new = run("new", "--name", "alice")[1].strip()
    store = KeyStore(path)
    assert store.authenticate(old) == store.authenticate(new)
    assert run("revoke", "--hash", digest_of(old).hex()[:8])[0] == 0
    store.refresh(always=True)
    assert store.authenticate(new).name == "alice"
    with pytest.raises(AuthenticationError):
        store.authenticate(old)


def test_revoking_the_last_leaves_a_file_that_shuts_everybody_out(run, path):
    key = run("new", "--name", "alice")[1].strip()
    assert run("revoke", "--name", "alice")[0] == 0
    assert read_key_file(path) == ()
    with pytest.raises(AuthenticationError):
        KeyStore(path).authenticate(key)
    again = run("new", "--name", "bob")[1].strip()
    assert KeyStore(path).authenticate(again).name == "bob"


def test_what_people_wrote_stays(run, path):
    run("new", "--name", "alice")
    text = path.read_text().replace("[[keys]]", "# Alice, of the choir\n[[keys]]")
    path.write_text(text + "max_concurrent_requests = 4  # agreed in May\n")
    path.chmod(0o640)
    run("new", "--name", "bob")
    run("new", "--name", "alice")
    run("revoke", "--name", "bob")
    written = path.read_text()
    assert "# Alice, of the choir" in written
    assert "max_concurrent_requests = 4  # agreed in May" in written
    assert len(tomllib.loads(written)["keys"][0]["sha256"]) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(run, path, tmp_path):
    run("new", "--name", "alice")
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    run("new", "--name", "bob", file=link)
    assert link.is_symlink()
    assert len(read_key_file(path)) == 2


def test_a_list_shows_who_has_what_and_no_hash_whole(run, path):
    key = run("new", "--name", "alice")[1].strip()
    run("new", "--name", "watch", "--scope", "metrics", "--expires", "2999-01-31")
    path.write_text(path.read_text().replace("2999-01-31", "2020-01-31"))
    code, out, _ = run("list")
    assert code == 0
    alice, watch = out.splitlines()
    assert alice.split() == ["alice", digest_of(key).hex()[:8], "transcribe,jobs"]
    assert watch.split()[2:] == ["metrics", "expired", "2020-02-01T00:00Z"]


def test_without_a_file_the_entry_is_shown_to_be_pasted(run, path, monkeypatch):
    monkeypatch.delenv("MT3_API_KEYS_FILE", raising=False)
    code, out, err = run("new", "--name", "alice", file=None)
    assert code == 0
    path.write_text(err[err.index("[[keys]]") :])
    assert KeyStore(path).authenticate(out.strip()).name == "alice"


def test_the_servers_setting_names_the_file(run, path, monkeypatch):
    monkeypatch.setenv("MT3_API_KEYS_FILE", str(path))
    run("new", "--name", "alice", file=None)
    assert len(read_key_file(path)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new", "--name", "al ice"], "an invalid name"),
        (["new", "--name", "anonymous"], "other than 'anonymous'"),
        (["new", "--name", "bob", "--expires", "soon"], "expected a day"),
        (["new", "--name", "alice", "--scope", "jobs"], "'alice' already exists"),
        (["revoke"], "expected --name, --hash, or both"),
        (["revoke", "--name", "nobody"], "no key with that name"),
        (["revoke", "--hash", "0" * 64], "no key with that name or hash"),
        (["revoke", "--hash", "12"], "first 8 or more"),
    ],
)
def test_what_cannot_be_done_changes_nothing(run, path, arguments, said):
    run("new", "--name", "alice")
    before = path.read_bytes()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert path.read_bytes() == before


def test_a_damaged_file_is_not_written_over(run, path):
    path.write_text("[[keys]]\nname = 'alice'\n")
    assert run("new", "--name", "bob")[0] == 2
    assert path.read_text() == "[[keys]]\nname = 'alice'\n"


def test_a_folder_that_cannot_be_written_is_said(run, tmp_path):
    code, out, err = run("new", "--name", "alice", file=tmp_path / "missing" / "keys.toml")
    assert (code, out) == (2, "")
    assert "cannot be written" in err


def test_the_command_line_knows_the_scopes():
    assert list(SCOPE_NAMES) == [scope.value for scope in Scope]
