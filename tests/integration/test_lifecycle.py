"""The process from outside: refused starts, reloaded keys, and shutdown."""

import contextlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

from service.auth.api_keys import digest_of, generate_key
from tests.integration.processes import MT3, server_process
from tests.integration.serving import recording
from tests.waiting import wait_until

GRACE_SECONDS = 5
# A server whose model is never loaded, and one whose every step takes half a second.
LOADING = (
    sys.executable, "-c",
    ("import time\n"
    "from service.api.app import create_app\n"
    "from service.api.server import serve\n"
    "from service.observability.logging import configure_logging\n"
    "from service.settings import Settings\n"
    "configure_logging('info')\n"
    "app = create_app(Settings(), load=lambda settings: time.sleep(3600))\n"
    "raise SystemExit(serve(app, host='127.0.0.1', port=0, shutdown_grace_seconds=2,"
    " max_connections=100))"),
)  # fmt: skip
SLOW = (
    sys.executable, "-c",
    ("import time\n"
    "from service.engine.fake_backend import FakeBackend\n"
    "step = FakeBackend.step\n"
    "FakeBackend.step = lambda self: time.sleep(0.5) or step(self)\n"
    "from service.cli import main\n"
    "raise SystemExit(main(['serve']))"),
)  # fmt: skip


def write_keys(path, **keys):
    path.write_text(
        "".join(
            f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(key).hex()}"\n'
            for name, key in keys.items()
        )
    )
    path.chmod(0o600)


def ends(process):
    """Wait for the process to end by itself; return its exit code."""
    return process.wait(120)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_address_without_keys_is_refused(host):
    found = subprocess.run(
        [*MT3, "--host", host, "--port", "0"],
        env={"MT3_BACKEND": "fake", "PATH": ""},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "there are no API keys" in found.stderr
    assert "--allow-anonymous" in found.stderr
    assert "MT3_API_KEYS_FILE" in found.stderr


def test_a_public_address_with_leave_serves_everybody(tmp_path):
    with server_process(tmp_path, MT3_HOST="0.0.0.0", MT3_ALLOW_ANONYMOUS="true") as server:
        server.wait_ready()
        assert server.get("/v1/models")[0] == 200


def test_a_public_address_with_keys_serves_who_has_one(tmp_path):
    key = generate_key()
    with server_process(tmp_path, MT3_HOST="0.0.0.0", MT3_API_KEYS=f"alice:{key}") as server:
        server.wait_ready()
        assert server.get("/v1/models")[0] == 401
        assert server.get("/v1/models", X_API_Key=key)[0] == 200
        assert not [line for line in server.lines if key in line]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MT3_API_KEYS", ""), ("MT3_API_KEYS", "alice:short"), ("MT3_API_KEYS_FILE", "/nowhere"),
     ("MT3_CORS_ORIGINS", "*")],
)  # fmt: skip
def test_security_that_cannot_be_is_no_start(name, value):
    found = subprocess.run(
        [*MT3, "--port", "0"], env={"MT3_BACKEND": "fake", "PATH": "", name: value},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert name in found.stderr or value in found.stderr
    assert "Traceback" not in found.stderr


def test_keys_are_read_again_on_sighup_and_when_the_file_changes(tmp_path):
    path = tmp_path / "keys.toml"
    old, new, newest = generate_key(), generate_key(), generate_key()
    write_keys(path, alice=old)
    with server_process(tmp_path, MT3_API_KEYS_FILE=str(path)) as server:
        server.wait_ready()

        def opens(key):
            return server.get("/v1/models", X_API_Key=key)[0] == 200

        assert opens(old)
        write_keys(path, alice=new)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: opens(new))
        assert not opens(old)
        loaded = server.events().count("keys_loaded")
        server.process.send_signal(signal.SIGHUP)  # reads the file though it has not changed
        wait_until(lambda: server.events().count("keys_loaded") > loaded)
        path.write_text("")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "keys_reload_failed" in server.events())
        assert opens(new)
        assert server.get("/v1/models")[0] == 401
        write_keys(path, alice=newest)
        wait_until(lambda: opens(newest))  # by itself
        assert not opens(new)
        server.process.send_signal(signal.SIGTERM)
        assert ends(server.process) == 0


def test_without_a_key_file_sighup_ends_the_server_as_any_program(tmp_path):
    # The default action, even if the test run ignores the signal (nohup).
    with server_process(tmp_path, command=("env", "--default-signal=HUP", *MT3)) as server:
        server.process.send_signal(signal.SIGHUP)
        assert ends(server.process) == -signal.SIGHUP


def test_there_are_descriptors_for_all_connections(tmp_path):
    with server_process(tmp_path, MT3_MAX_CONNECTIONS="3000") as server:
        limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
        (line,) = (line for line in limits if line.startswith("Max open files"))
        soft, hard = (int(number) for number in line.split()[3:5])
        assert soft >= min(4_000, hard)


def test_sigterm_while_loading_ends_at_once(tmp_path):
    with server_process(tmp_path, command=LOADING) as server:
        assert server.get("/ready")[0] == 503
        server.process.send_signal(signal.SIGTERM)
        assert ends(server.process) == 0


def test_sigterm_does_not_wait_for_idle_connections_nor_half_heads(tmp_path):
    with server_process(tmp_path, MT3_SHUTDOWN_GRACE_SECONDS="600") as server:
        server.wait_ready()
        idle = http.client.HTTPConnection("127.0.0.1", server.port)
        idle.request("GET", "/health")
        idle.getresponse().read()
        with socket.create_connection(("127.0.0.1", server.port)) as half:
            half.sendall(b"GET /health HTT")
            server.get("/health")  # a later connection: the half head has been read before
            server.process.send_signal(signal.SIGTERM)
            assert ends(server.process) == 0
        idle.close()


HEAD_OF_POST = (
    "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n"
)


@contextlib.contextmanager
def sending(server, path, length, body):
    """Open a connection and send a request: a head that declares a length, and a body."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(400)
        connection.sendall(f"{HEAD_OF_POST.format(path, length)}\r\n".encode() + body)
        yield connection


def received(connection, *, until=None):
    """Return what arrives on a connection until its end, or until a text has arrived."""
    data = b""
    while until is None or until not in data:
        piece = connection.recv(10_000)
        if not piece:
            break
        data += piece
    return data


def test_what_takes_longer_than_the_grace_is_answered_503(tmp_path):
    """Run a request, a stalled upload and an event stream during a shutdown, in which the port
    stays open."""
    with server_process(
        tmp_path, command=SLOW, MT3_SHUTDOWN_GRACE_SECONDS=str(GRACE_SECONDS), MT3_SLOTS="1"
    ) as server:
        server.wait_ready()
        body = recording(600.0)
        path = "/v1/transcriptions"
        with (
            sending(server, f"{path}?stream=true", len(body), body) as streaming,
            sending(server, path, 1_000_000, b"x" * 1_000) as stopped,
            sending(server, path, len(body), body) as waiting,
        ):
            received(streaming, until=b"transcription.started")
            wait_until(lambda: b"mt3_open_recordings 2.0" in server.get("/metrics")[1])
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.get("/ready")[0] == 503)
            assert json.loads(server.get("/ready")[1])["state"] == "draining"
            assert server.get("/health")[0] == 200
            assert server.get("/metrics")[0] == 200
            with sending(server, "/v1/jobs", 1, b"x") as refused:
                assert_going_down(received(refused))
            with sending(server, path, 1_000_000, b"x") as refused:
                assert_going_down(received(refused))
            server.process.send_signal(signal.SIGTERM)  # a second one changes nothing
            assert server.process.poll() is None
            assert_going_down(received(waiting))
            assert_going_down(received(stopped))
            assert b"event: error" in received(streaming)
            assert ends(server.process) == 0
        assert list(tmp_path.iterdir()) == []
    assert "requests_cut_off" in server.events()
    assert "Traceback" not in "".join(server.lines)


def test_a_recording_of_a_job_keeps_the_port_open_for_the_grace(tmp_path):
    with server_process(
        tmp_path, command=SLOW, MT3_SHUTDOWN_GRACE_SECONDS=str(GRACE_SECONDS), MT3_SLOTS="1"
    ) as server:
        server.wait_ready()
        body = recording(600.0)
        head = (
            f"{HEAD_OF_POST.format('/v1/transcriptions', len(body))}Prefer: respond-async\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as submitting:
            submitting.sendall(head.encode() + body)
            assert received(submitting, until=b'"links"').startswith(b"HTTP/1.1 202")
        wait_until(lambda: b"mt3_open_recordings 1.0" in server.get("/metrics")[1])
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: server.get("/ready")[0] == 503)
        assert json.loads(server.get("/ready")[1])["state"] == "draining"
        assert ends(server.process) == 0
    assert "Traceback" not in "".join(server.lines)


def assert_going_down(answer):
    """Check a complete refusal with Retry-After, after which the connection is closed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 503")
    assert "content-type: application/problem+json" in lines
    assert "retry-after: 30" in lines
    assert "connection: close" in lines
    assert json.loads(body)["state"] == "draining"


def test_a_second_interrupt_ends_at_once(tmp_path):
    with server_process(tmp_path, MT3_SHUTDOWN_GRACE_SECONDS="600") as server:
        server.wait_ready()
        with socket.create_connection(("127.0.0.1", server.port)) as stopped:
            stopped.sendall(
                b"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 1000\r\n\r\nx"
            )
            wait_until(lambda: any(tmp_path.iterdir()))
            server.process.send_signal(signal.SIGINT)
            wait_until(lambda: server.get("/ready")[0] == 503)
            server.process.send_signal(signal.SIGINT)
            assert ends(server.process) == 0


def test_what_runs_at_sigterm_is_answered(tmp_path):
    with server_process(tmp_path, command=SLOW, MT3_SHUTDOWN_GRACE_SECONDS="20") as server:
        server.wait_ready()
        answers = []

        def post():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=400)
            headers = {"Content-Type": "audio/wav"}
            connection.request("POST", "/v1/transcriptions", recording(1.0), headers)
            answers.append(connection.getresponse().status)
            connection.close()

        posting = threading.Thread(target=post)
        posting.start()
        wait_until(lambda: b"mt3_slots_used 1.0" in server.get("/metrics")[1])
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/ready")[0] == 503)
        posting.join()
        assert answers == [200]
        assert ends(server.process) == 0
