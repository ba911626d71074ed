"""Settings are read from the environment, and invalid ones are refused."""

import pydantic
import pytest

from service.settings import Settings, unknown_settings


def test_each_setting_comes_from_the_environment_under_its_name(monkeypatch):
    monkeypatch.setenv("MT3_PORT", "9000")
    monkeypatch.setenv("MT3_OFFLINE", "1")
    monkeypatch.setenv("MT3_MAX_AUDIO_SECONDS", "60.5")
    settings = Settings()
    assert (settings.port, settings.offline, settings.max_audio_seconds) == (9000, True, 60.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("BACKEND", "tpu"),
        ("LOG_LEVEL", "loud"),
        ("JOB_RETENTION_SECONDS", "inf"),
        ("FAKE_ITERATION_SECONDS", "inf"),
    ],
)
def test_a_value_out_of_range_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"MT3_{name}", value)
    with pytest.raises(pydantic.ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, field in Settings.model_fields.items()
        if "int" in str(field.annotation) and not name.endswith("_bytes")
    ],
)
def test_a_number_of_things_that_no_machine_can_hold_is_refused(name):
    with pytest.raises(pydantic.ValidationError, match=name):
        Settings(**{name: "99999999999999999999"})


def test_the_default_is_reachable_from_this_machine_only():
    assert Settings.model_fields["host"].default == "127.0.0.1"


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        Settings().port = 1


def test_sizes_and_lengths_of_time_may_have_a_unit(monkeypatch):
    monkeypatch.setenv("MT3_MAX_UPLOAD_BYTES", "1 GiB")
    monkeypatch.setenv("MT3_MAX_JOB_UPLOAD_BYTES", "1GB")
    monkeypatch.setenv("MT3_UPLOAD_MIN_BYTES_PER_SECOND", "2kB")
    monkeypatch.setenv("MT3_JOB_RETENTION_SECONDS", "7d")
    monkeypatch.setenv("MT3_MAX_SYNC_AUDIO_SECONDS", "90s")
    settings = Settings()
    assert (settings.max_upload_bytes, settings.max_job_upload_bytes) == (2**30, 10**9)
    assert settings.upload_min_bytes_per_second == 2_000.0
    assert (settings.job_retention_seconds, settings.max_sync_audio_seconds) == (604_800.0, 90.0)


def test_an_empty_variable_is_an_absent_one(monkeypatch):
    for name in Settings.model_fields.keys() - {"api_keys", "api_keys_file"}:
        monkeypatch.setenv(f"MT3_{name.upper()}", "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize("name", ["api_keys", "api_keys_file"])
def test_an_empty_setting_for_keys_is_refused(monkeypatch, name):
    monkeypatch.setenv(f"MT3_{name.upper()}", "")
    with pytest.raises(pydantic.ValidationError, match=f"{name}\n.*is empty"):
        Settings()


def test_a_misspelled_variable_is_found_with_the_setting_that_was_meant():
    names = ["MT3_PRECISON", "mt3_modle", "MT3_UNLIKE_ANYTHING", "MT3_PORT", "mt3_host", "PATH"]
    assert unknown_settings(names) == {
        "MT3_PRECISON": "MT3_PRECISION",
        "MT3_UNLIKE_ANYTHING": None,
        "mt3_modle": "MT3_MODEL",
    }


def test_variables_of_our_other_programs_and_of_kubernetes_are_not_taken_for_settings():
    names = [
        "MT3_API_KEY", "MT3_SERVER", "MT3_SHARED", "MT3_FAULT_TESTS_SCALE", "MT3_MEMORY",
        "MT3_API_SERVICE_HOST", "MT3_API_PORT_8000_TCP_ADDR",
    ]  # fmt: skip
    assert unknown_settings(names) == {}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_of_a_unit_takes_it(name):
    texts = {"_bytes": "1GiB", "_per_second": "1kB", "_seconds": "1h"}
    for ending, text in texts.items():
        if name.endswith(ending):
            assert getattr(Settings(**{name: text}), name) in (2**30, 1_000.0, 3_600.0)


@pytest.mark.parametrize("secret", ["abc", " " * 20, "x" * 513])
def test_a_webhook_secret_has_16_to_512_characters(secret):
    with pytest.raises(pydantic.ValidationError, match="expected 16 to 512"):
        Settings(webhook_secret=secret)
    assert Settings(webhook_secret="x" * 16).webhook_secret is not None
