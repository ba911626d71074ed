"""A server that cannot start prints one sentence, and its exit code shows whether to retry."""

import socket
import subprocess
import types

import pytest

from mt3_model.errors import (
    CheckpointContentError,
    CheckpointNotFoundError,
    DecoderKilledError,
    DownloadError,
    DownloadInterruptedError,
    OptionError,
)
from service.commands.listening_sockets import listening
from service.commands.serve import raise_failure
from service.errors import EngineError, ServiceError
from tests.integration.processes import MT3


def start(**environment):
    """Run `mt3 serve` to its end, with the model that the environment names."""
    return subprocess.run(
        MT3, env={"PATH": "", "MT3_JOBS": "false", "MT3_PORT": "0", **environment},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def sentences(found):
    """Return the output beside the log."""
    return [line for line in found.stderr.splitlines() if line[:1] != "{"]


def test_a_checkpoint_that_is_not_there_ends_the_start(tmp_path):
    found = start(MT3_CHECKPOINT=str(tmp_path / "nowhere"))
    assert found.returncode == 2
    (sentence,) = sentences(found)
    assert f"There is nothing at {tmp_path / 'nowhere'}" in sentence


def test_a_port_in_use_ends_the_start_before_the_model_is_loaded(tmp_path):
    with listening("127.0.0.1", 0) as (taken,):
        port = taken.getsockname()[1]
        found = start(MT3_CHECKPOINT=str(tmp_path / "nowhere"), MT3_PORT=str(port))
    assert found.returncode == 2
    (sentence,) = sentences(found)
    assert f"127.0.0.1 port {port}: it is in use" in sentence


def test_a_misspelled_variable_is_warned_of():
    found = start(MT3_PRECISON="float32", MT3_MODEL="mt4")
    assert found.returncode == 2
    warning, _ = sentences(found)
    assert "MT3_PRECISON is not a setting" in warning
    assert "MT3_PRECISION" in warning


@pytest.mark.parametrize(
    ("host", "message"),
    [("192.0.2.1", "no such address"), ("no.such.host.invalid", "is unknown")],
)
def test_a_host_that_is_not_this_machine_is_refused(host, message):
    with pytest.raises(OptionError, match=message), listening(host, 0):
        pass


def test_all_addresses_of_a_name_have_one_port():
    with listening("localhost", 0) as sockets:
        assert len({one.getsockname()[1] for one in sockets}) == 1
        with socket.create_connection(sockets[0].getsockname()[:2]):
            pass


@pytest.mark.parametrize(
    "failure",
    [CheckpointNotFoundError("nothing\n  there"), CheckpointContentError("truncated"),
     DownloadError("another file"), PermissionError(13, "Permission denied"),
     OptionError("compilation_cache", "cannot be made")],
)  # fmt: skip
def test_what_another_start_would_not_change_is_wrong_usage(failure):
    with pytest.raises(OptionError, match=r"^[^\n]+$"):
        raise_failure(types.SimpleNamespace(failure=failure))


@pytest.mark.parametrize(
    "failure",
    [DownloadInterruptedError("cut off"), RuntimeError("out of memory"),
     EngineError("device", retry_after_seconds=1), ChildProcessError("a process ended"),
     BlockingIOError(11, "Resource temporarily unavailable"), DecoderKilledError("killed")],
)  # fmt: skip
def test_what_may_pass_is_a_failure(failure):
    with pytest.raises(ServiceError, match="the start failed"):
        raise_failure(types.SimpleNamespace(failure=failure))


def test_a_model_that_is_there_is_no_failure():
    raise_failure(types.SimpleNamespace(failure=None))
