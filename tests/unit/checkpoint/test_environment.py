"""The library finds the same models as the `mt3` command; its errors are one line long."""

import traceback
from pathlib import Path

import jax
import pytest

from mt3_model import transcribe
from mt3_model.checkpoint.environment import default_compilation_cache, read_model_settings
from mt3_model.errors import CheckpointError, DownloadInterruptedError, OptionError
from service.settings import Settings

VARIABLES = {
    "MT3_CHECKPOINT": "/models/mt3", "MT3_OFFLINE": "yes", "MT3_CHECKPOINT_MIRROR_URL": "https://m",
    "MT3_COMPILATION_CACHE_DIR": "/cache",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "mt3_model.checkpoint.locating.default_cache_folder", lambda: tmp_path / "cache"
    )


@pytest.mark.parametrize("given", [VARIABLES, {}, dict.fromkeys(VARIABLES, "")])
def test_library_and_server_read_the_same_settings(given, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    library, server = read_model_settings(given), Settings()
    assert library.checkpoint == server.checkpoint
    assert library.offline == server.offline
    assert library.mirror == server.checkpoint_mirror_url
    cache = server.compilation_cache_dir or default_compilation_cache()
    assert library.compilation_cache == cache


def test_a_value_that_is_not_boolean_is_rejected():
    with pytest.raises(OptionError, match="MT3_OFFLINE is 'maybe'; expected true or false"):
        read_model_settings({"MT3_OFFLINE": "maybe"})


def load_failing(*arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        transcribe.load_transcriber(*arguments, **options)
    require_short(caught.value)
    return str(caught.value)


def require_short(error):
    """Check that the message has one line and the traceback has no failed requests."""
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__
    frames = traceback.extract_tb(error.__traceback__)
    assert not [frame for frame in frames if "fetching" in frame.filename]


def test_the_checkpoint_of_the_environment_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("MT3_CHECKPOINT", str(tmp_path / "absent"))
    message = load_failing()
    assert str(tmp_path / "absent") in message
    assert "Name a T5X checkpoint folder" in message
    assert str(tmp_path / "other") in load_failing(checkpoint=tmp_path / "other")


def test_offline_nothing_is_tried_and_the_paths_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MT3_OFFLINE", "1")
    monkeypatch.setattr("mt3_model.checkpoint.locating.download_model", None)
    message = load_failing("ismir2021")
    repository = Path(transcribe.__file__).parents[1]
    assert f"{repository}/checkpoints/ismir2021" in message
    assert f"{tmp_path}/cache/ismir2021.safetensors" in message
    assert "MT3_OFFLINE" in message


def test_without_a_network_the_error_has_one_line(monkeypatch):
    monkeypatch.setenv("MT3_CHECKPOINT_MIRROR_URL", "http://127.0.0.1:1")  # no server on this port
    monkeypatch.setattr("mt3_model.checkpoint.fetching.random.uniform", lambda *_: 0.01)
    with pytest.raises(DownloadInterruptedError) as caught:
        transcribe.load_transcriber("mt3")
    message = str(caught.value)
    assert "cannot be downloaded: http://127.0.0.1:1/mt3/" in message
    assert "failed 3 times in a row" in message
    assert "MT3_CHECKPOINT" in message
    require_short(caught.value)


def test_compiled_programs_are_kept_in_the_folder(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        transcribe.enable_compilation_cache(tmp_path / "compiled")
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")
        (tmp_path / "file").touch()
        transcribe.enable_compilation_cache(tmp_path / "file" / "compiled")  # goes on without
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
