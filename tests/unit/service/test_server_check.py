"""`mt3 serve --check` names each reason why a start would fail, and shows no secret."""

import socket

import pytest

from service.cli import main
from tests.unit.service.jobs.ports import free_port

SECRET = "never-shown-in-any-line"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MT3_BACKEND", "fake")
    monkeypatch.setenv("MT3_PORT", "0")
    monkeypatch.setenv("MT3_JOBS", "true")
    monkeypatch.setenv("MT3_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MT3_MAX_UPLOAD_BYTES", "1kB")
    return monkeypatch


def check(capsys):
    code = main(["serve", "--check"])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err.splitlines()


def test_what_can_start_is_shown_with_its_settings(environment, capsys):
    environment.setenv("MT3_WEBHOOK_SECRET", SECRET)
    environment.setenv("MT3_API_KEYS", f"alice:{SECRET * 2}")
    code, out, err = check(capsys)
    assert (code, err) == (0, [])
    assert "MT3_BACKEND=fake" in out
    assert "MT3_WEBHOOK_SECRET=****" in out
    assert "MT3_HOST=127.0.0.1  (default)" in out
    assert [line.split(": ")[1] for line in out if line.startswith("ok: ")] == [
        "settings", "port", "upload folder", "data folder", "jobs",
    ]  # fmt: skip
    assert SECRET not in "".join(out)


def test_only_its_user_may_enter_a_new_data_folder(environment, capsys, tmp_path):
    assert check(capsys)[0] == 0
    assert oct((tmp_path / "data").stat().st_mode & 0o777) == "0o700"


def test_a_data_folder_that_exists_keeps_its_mode(environment, capsys, tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    assert check(capsys)[0] == 0
    assert oct((tmp_path / "data").stat().st_mode & 0o777) == "0o755"


def test_an_invalid_setting_is_named_with_what_is_expected(environment, capsys):
    environment.setenv("MT3_MAX_UPLOAD_BYTES", "many")

    assert main(["serve", "--check"]) == 2

    message = capsys.readouterr().err
    assert message.startswith("mt3: MT3_MAX_UPLOAD_BYTES is 'many': expected a number, ")


def test_an_invalid_secret_is_refused_and_not_shown(environment, capsys):
    environment.setenv("MT3_WEBHOOK_SECRET", "short-secret")

    assert main(["serve"]) == 2

    message = capsys.readouterr().err
    assert message.startswith("mt3: MT3_WEBHOOK_SECRET is '****': it has 12 characters; ")
    assert "short-secret" not in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MT3_HOST", "127..0.0.1", "the host '127..0.0.1' is unknown"),
        ("MT3_HOST", "a" * 64, "is unknown"),
        ("MT3_DATABASE_URL", f"postgresql://user:{SECRET}@[::1/jobs", "URL is invalid"),
        ("MT3_DATABASE_URL", f"postgresql://user:{SECRET}@host:x/jobs", "URL is invalid"),
        ("MT3_DATABASE_URL", f"postgresql://user:{SECRET}@host:99999/jobs", "port is 99999"),
        ("MT3_STORAGE_URL", f"s3://key:{SECRET}@[::1/jobs", "URL is invalid"),
    ],
)
def test_a_malformed_address_is_a_sentence_without_its_password(
    environment, capsys, name, value, expected
):
    environment.setenv(name, value)
    for arguments in (["serve"], ["serve", "--check"]):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert expected in said.err
        assert SECRET not in said.out + said.err


def test_every_failing_thing_has_a_line(environment, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment.setenv("MT3_PORT", str(taken.getsockname()[1]))
        environment.setenv("MT3_BACKEND", "jax")
        environment.setenv("MT3_CHECKPOINT", str(tmp_path / "nowhere"))
        environment.setenv("MT3_UPLOAD_DIR", str(tmp_path / "missing"))
        environment.setenv("MT3_API_KEYS_FILE", str(tmp_path / "keys.toml"))
        environment.setenv("MT3_DATABASE_URL", f"postgresql://user:{SECRET}@127.0.0.1:1/jobs?a=b")
        environment.setenv("MT3_JOBS", "false")
        code, out, err = check(capsys)
    assert code == 2
    assert [line.split(": ")[1] for line in err] == [
        "settings", "port", "upload folder", "checkpoint",
    ]  # fmt: skip
    assert "MT3_DATABASE_URL=postgresql://user:****@127.0.0.1:1/jobs?****" in out


def test_a_storage_that_does_not_answer_is_a_failure(environment, capsys):
    environment.setenv("AWS_ACCESS_KEY_ID", "key")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    endpoint = f"http://127.0.0.1:{free_port()}"
    environment.setenv("MT3_STORAGE_URL", f"s3://bucket/x?endpoint={endpoint}&region=us-east-1")
    code, _, err = check(capsys)
    assert code == 2
    assert err[-1].startswith("mt3: jobs: the storage did not store or return")
    assert SECRET not in "".join(err)


@pytest.mark.parametrize("name", ["what?now", "a%41#b c", "höhe"])
def test_the_data_folder_may_have_any_name(environment, capsys, tmp_path, name):
    environment.setenv("MT3_DATA_DIR", str(tmp_path / name))

    code, _, err = check(capsys)

    assert (code, err) == (0, [])
    assert (tmp_path / name / "jobs.sqlite3").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_is_no_soundfont_is_a_failure(environment, capsys):
    environment.setenv("MT3_SOUNDFONT", __file__)
    code, _, err = check(capsys)
    assert code == 2
    assert err[0].startswith(f"mt3: settings: {__file__} is not a soundfont; expected an SF2")


def test_no_password_in_a_list_of_locations_is_shown(environment, capsys):
    environment.setenv("MT3_ALLOWED_OBJECT_URLS", f"file:///a,s3://key:{SECRET}@bucket/x")
    code, out, err = check(capsys)
    assert code == 2
    assert "MT3_ALLOWED_OBJECT_URLS=file:///a,s3://key:****@bucket/x" in out
    assert SECRET not in "".join(out + err)
