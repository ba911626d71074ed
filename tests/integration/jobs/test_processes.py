"""Whole programs: a server killed in the middle of a job continues it; workers share a server's
jobs."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.integration.processes import server_process
from tests.integration.serving import recording
from tests.waiting import wait_until

SLOW = {"MT3_FAKE_ITERATION_SECONDS": "0.5", "MT3_SLOTS": "2"}
QUICK = SLOW | {"MT3_FAKE_ITERATION_SECONDS": "0.05"}


def form(count, seconds=2.0):
    body = io.BytesIO()
    for number in range(count):
        body.write(
            b"--x\r\nContent-Disposition: form-data; name=file; filename=%d.wav\r\n\r\n" % number
        )
        body.write(recording(seconds) + b"\r\n")
    body.write(b"--x--\r\n")
    return body.getvalue()


def post(server, path, content=b"", **headers):
    request = urllib.request.Request(
        f"{server.address}{path}", data=content, method="POST",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=400) as response:
        return json.loads(response.read())


def get(server, path):
    return json.loads(server.get(path)[1])


def submit(server, count):
    return post(server, "/v1/jobs", form(count), Content_Type="multipart/form-data; boundary=x")


def test_a_server_killed_in_mid_job_goes_on_where_it_was(tmp_path):
    place = {"MT3_DATA_DIR": str(tmp_path / "data")}
    with server_process(tmp_path, **place, **SLOW) as server:
        server.wait_ready()
        job = submit(server, 20)
        path = f"/v1/jobs/{job['id']}"

        def in_the_middle():
            done = get(server, path)["progress"]["items_done"]
            return done >= 2 and len(get(server, f"{path}/items?status=processing")["data"]) >= 2

        wait_until(in_the_middle)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with server_process(tmp_path, **place, **QUICK) as server:
        before = get(server, path)
        assert before["status"] == "processing", "it is there while the model still loads"
        finished = {i["number"]: i for i in get(server, f"{path}/items?status=succeeded")["data"]}
        wait_until(lambda: get(server, path)["status"] == "succeeded")
        after = get(server, path)
        assert after["progress"]["items_succeeded"] == 20
        items = {item["number"]: item for item in get(server, f"{path}/items")["data"]}
        assert all(items[number] == item for number, item in finished.items()), "not done again"
        leftovers = [p for p in tmp_path.iterdir() if p.name.startswith("mt3-uploads")]
        assert not leftovers, "the killed process's recordings are swept"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0


def test_a_server_that_is_told_to_stop_puts_back_what_it_had_begun(tmp_path):
    place = {"MT3_DATA_DIR": str(tmp_path / "data"), "MT3_SHUTDOWN_GRACE_SECONDS": "0.5"}
    with server_process(tmp_path, MT3_FAKE_ITERATION_SECONDS="5", **place) as server:
        server.wait_ready()
        job = submit(server, 2)
        path = f"/v1/jobs/{job['id']}"
        wait_until(lambda: get(server, path)["status"] == "processing")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
    with server_process(tmp_path, **place) as server:
        wait_until(lambda: get(server, path)["status"] == "succeeded")


def test_a_second_server_on_the_same_folder_does_not_start(tmp_path):
    place = {"MT3_DATA_DIR": str(tmp_path / "data")}
    with server_process(tmp_path, **place):
        code, said = run("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert code == 2
    assert "in use by process" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--no-worker"), "mt3 worker"),
        (("worker",), "--database postgresql://"),
        (("serve", "--database", "mysql://x/y"), "sqlite or postgresql"),
        (("serve", "--database", "nonsense"), "sqlite:/// or postgresql://"),
        (("serve", "--storage", "ftp://x"), "expected file:///folder"),
        (("serve", "--data-dir", "/dev/null/x"), "MT3_DATA_DIR"),
    ],
)
def test_what_cannot_be_is_said_plainly(tmp_path, arguments, said):
    more = () if "--data-dir" in arguments else ("--data-dir", str(tmp_path))
    code, output = run(*arguments, *more, "--port", "0")
    assert (code, said in output, "Traceback" in output) == (2, True, False), output


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        capture_output=True, text=True, timeout=400, check=False,
        env=os.environ | {"MT3_BACKEND": "fake", "MT3_JOBS": "true"},
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.postgres
def test_two_workers_beside_a_server_share_its_jobs_and_one_may_die(tmp_path, postgres_url, show):
    shared = {
        "MT3_DATABASE_URL": postgres_url,
        "MT3_STORAGE_URL": (tmp_path / "objects").as_uri(),
        "MT3_JOB_ITEMS_IN_FLIGHT": "4",
        **SLOW,
    }
    worker = (sys.executable, "-m", "service.cli", "worker")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(server_process(tmp_path, **shared, MT3_WORKER="false"))
        server.wait_ready()
        first, second = (
            stack.enter_context(server_process(tmp_path, command=worker, **shared))
            for _ in range(2)
        )
        for started in (first, second):
            started.wait_ready()
            assert started.get("/v1/jobs")[0] == 404, "a worker takes no jobs"
        job = submit(server, 40)
        path = f"/v1/jobs/{job['id']}"

        def metric(process, name):
            text = process.get("/metrics")[1].decode()
            (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
            return float(line.split()[-1])

        def done_by(process):
            return metric(process, 'mt3_job_items_ended_total{outcome="succeeded"}')

        # Two or three others are under way in it.
        wait_until(lambda: done_by(first) >= 1 and metric(first, "mt3_open_recordings") >= 2)
        first.process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: get(server, path)["status"] == "succeeded")
        show(f"after one of two workers was killed: {time.monotonic() - began:.1f} s to the end")
        assert get(server, path)["progress"]["items_succeeded"] == 40
        assert done_by(second) >= 1
        wait_until(lambda: b"mt3_job_takeovers_total 0.0" not in second.get("/metrics")[1])
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(120) == 0
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
