"""The environment is read by name, and refused where it makes no sense."""

import pydantic
import pytest

from service.settings import Settings


def test_each_setting_comes_from_the_environment_under_its_name(monkeypatch):
    monkeypatch.setenv("MT3_PORT", "9000")
    monkeypatch.setenv("MT3_OFFLINE", "1")
    monkeypatch.setenv("MT3_MAX_AUDIO_SECONDS", "60.5")
    settings = Settings()
    assert (settings.port, settings.offline, settings.max_audio_seconds) == (9000, True, 60.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("MAX_UPLOAD_BYTES", "0"), ("BACKEND", "tpu"), ("LOG_LEVEL", "loud")],
)
def test_a_value_out_of_range_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"MT3_{name}", value)
    with pytest.raises(pydantic.ValidationError, match=name.lower()):
        Settings()


def test_the_default_is_reachable_from_this_machine_only():
    assert Settings.model_fields["host"].default == "127.0.0.1"


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        Settings().port = 1
