"""Jobs over HTTP: submitted, read, listed, canceled, retried and deleted; and refused."""

import asyncio
import json
import time

import pytest

from service.schemas.job_response import JobItemResponse, JobResponse
from tests.integration.job_server import URL, ended, files, job_server, stored, submit
from tests.integration.serving import MODEL, loader, recording, serving
from tests.unit.service.devices import HeldBackend, PoisonedBackend
from tests.waiting import until


def problem(answer):
    document = answer.json()
    return answer.status_code, document["code"], document.get("param")


def references(count=1, **rest):
    return {"inputs": [{"url": f"https://example.org/{n}.mp3"} for n in range(count)], **rest}


HEAD = b"--x\r\nContent-Disposition: form-data; name=file; "
KEYS = "anna:mt3_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,ben:mt3_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
ANNA, BEN = ({"X-API-Key": key.partition(":")[2]} for key in KEYS.split(","))


async def test_a_job_of_files_goes_from_accepted_to_its_results(tmp_path):
    async with job_server(tmp_path) as client:
        before = time.time()
        answer = await client.post(
            URL,
            files=[*files("one.wav", "zwei.wav"), ("metadata", (None, '{"n": [1, null, "ü"]}'))],
            data={"end": "0.3", "response_format": "midi", "expires_in_seconds": "3600"},
        )
        assert answer.status_code == 202
        job = answer.json()
        JobResponse.model_validate(job)
        assert answer.headers["location"] == job["links"]["self"] == f"{URL}/{job['id']}"
        assert job["status"] == "queued"
        assert job["queue_position"] == 0
        assert job["metadata"] == {"n": [1, None, "ü"]}
        assert job["options"]["end"] == 0.3
        assert job["progress"]["items_total"] == 2
        done = await ended(client, job)
        JobResponse.model_validate(done)
        assert done["status"] == "succeeded"
        assert done["progress"]["items_succeeded"] == 2
        assert done["progress"]["audio_seconds_done"] == pytest.approx(0.6, abs=0.02)
        assert done["created_at"] <= done["processing_at"] <= done["ended_at"]
        expires = time.strptime(done["expires_at"][:19], "%Y-%m-%dT%H:%M:%S")
        assert 3_590 < time.mktime(expires) - time.timezone - before < 3_610
        items = (await client.get(job["links"]["items"])).json()["data"]
        assert [item["name"] for item in items] == ["one.wav", "zwei.wav"]
        for item in items:
            JobItemResponse.model_validate(item)
        one = (await client.get(f"{URL}/{job['id']}/items/1")).json()
        assert one == items[1]
        assert not any((tmp_path / "uploads").iterdir()), "no temporary file is left"


async def test_a_bad_recording_fails_its_item_alone(tmp_path):
    async with job_server(tmp_path) as client:
        parts = [*files("good.wav"), ("file", ("bad.wav", b"no audio at all" * 100))]
        job = (await client.post(URL, files=parts)).json()
        done = await ended(client, job)
        assert done["status"] == "succeeded"
        assert [w["code"] for w in done["warnings"]] == ["items_failed"]
        (failed,) = (await client.get(f"{job['links']['items']}?status=failed")).json()["data"]
        assert failed["name"] == "bad.wav"
        assert failed["error"]["code"] == "audio_undecodable"
        assert failed["result"] is None
        answer = await client.get(f"{URL}/{job['id']}/items/1/result")
        assert problem(answer)[:2] == (409, "job_conflict")
        again = (await client.post(f"{URL}/{job['id']}/retry")).json()
        assert again["status"] == "queued"
        assert (await ended(client, job))["progress"]["items_failed"] == 1
        failed = (await client.get(f"{URL}/{job['id']}/items/1")).json()
        assert failed["attempts"] == 2


async def test_the_same_key_and_body_is_the_same_job_and_another_body_is_refused(tmp_path):
    async with job_server(tmp_path) as client:
        key = {"Idempotency-Key": "order 66"}
        first = await submit(client, "a.wav", headers=key, metadata='{"x": 1}')
        held = len(stored(tmp_path))
        # Another boundary, and fields in another order, are not another body.
        again = await client.post(
            URL, headers=key, files=[("metadata", (None, '{"x":  1}')), *files("a.wav")]
        )
        assert again.status_code == 202
        assert again.json()["id"] == first["id"]
        await ended(client, first)
        for changed in (
            {"files": files("b.wav")},
            {"files": files("a.wav", seconds=0.6), "data": {"metadata": '{"x": 1}'}},
            {"files": files("a.wav"), "data": {"metadata": '{"x": 1}', "end": "9"}},
            {"json": references()},
        ):
            answer = await client.post(URL, headers=key, **changed)
            assert problem(answer)[:2] == (422, "idempotency_conflict")
        assert held == 1
        assert {name.split("/")[1] for name in stored(tmp_path)} == {first["id"]}
        listed = (await client.get(URL)).json()["data"]
        assert [job["id"] for job in listed] == [first["id"]]
        answer = await client.post(URL, headers={"Idempotency-Key": "k" * 256}, json=references())
        assert problem(answer) == (422, "invalid_option", "Idempotency-Key")


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        ({"content": b"", "headers": {"Content-Type": "text/plain"}},
         (415, "unsupported_media_type", None)),
        ({"content": b"RIFF", "headers": {"Content-Type": "audio/wav"}},
         (415, "unsupported_media_type", None)),
        ({"data": {"end": "1"}, "files": [("other", ("a", b"x"))]}, (400, "malformed_form", None)),
        ({"files": [("file", ("a.wav", b""))]}, (400, "empty_body", None)),
        ({"files": files("a.wav"), "data": {"start": "x"}}, (422, "invalid_option", "start")),
        ({"files": files("a.wav"), "data": {"colour": "red"}}, (422, "invalid_option", "colour")),
        ({"files": files("a.wav"), "data": {"stream": "true"}}, (422, "invalid_option", "stream")),
        ({"files": files("a.wav"), "data": {"model": "mt4"}}, (404, "model_not_found", "model")),
        ({"files": files("a.wav"), "data": {"precision": "bfloat16"}},
         (422, "invalid_option", "precision")),
        ({"files": files("a.wav"), "data": {"metadata": "[]"}},
         (422, "invalid_option", "metadata")),
        ({"files": files("a.wav"), "data": {"metadata": json.dumps({"a": "x" * 2**14})}},
         (422, "invalid_option", "metadata")),
        ({"files": files("a.wav"), "data": {"expires_in_seconds": "nan"}},
         (422, "invalid_option", "expires_in_seconds")),
        ({"files": files("a.wav"), "data": {"expires_in_seconds": "1e9"}},
         (422, "invalid_option", "expires_in_seconds")),
        ({"files": files("a.wav"), "data": {"webhook_url": "https://example.org/"}},
         (422, "invalid_option", "webhook_secret")),
        ({"files": files("a.wav"), "data": {"webhook_secret": "s" * 16}},
         (422, "invalid_option", "webhook_secret")),
        ({"files": files("a", "b", "c", "d")}, (400, "malformed_form", None)),
        ({"files": files("a.wav", content=b"x" * 70_001)}, (413, "upload_too_large", None)),
        ({"files": files("a", "b", "c", content=b"x" * 50_000)}, (413, "upload_too_large", None)),
        ({"json": {}}, (422, "invalid_option", "inputs")),
        ({"json": {"inputs": []}}, (422, "invalid_option", "inputs")),
        ({"json": references(4)}, (422, "invalid_option", "inputs")),
        ({"json": references(colour="red")}, (422, "invalid_option", "colour")),
        ({"json": references(options={"start": [1]})}, (422, "invalid_option", "start")),
        ({"json": references(options={"end": -1})}, (422, "invalid_option", "end")),
        ({"json": {"inputs": [{"name": "a"}]}}, (422, "invalid_option", "inputs.0")),
        ({"json": {"inputs": [{"url": "https://a.example/b", "object": "s3://a/b"}]}},
         (422, "invalid_option", "inputs.0")),
        ({"json": {"inputs": [{"url": "http://127.0.0.1/a"}]}},
         (422, "invalid_option", "inputs.0.url")),
        ({"json": {"inputs": [{"url": "file:///etc/passwd"}]}},
         (422, "invalid_option", "inputs.0.url")),
        ({"json": {"inputs": [{"object": "s3://somebody/else"}]}},
         (422, "invalid_option", "inputs.0.object")),
        ({"json": references(webhook={"url": "http://10.0.0.1/", "secret": "s" * 16})},
         (422, "invalid_option", "webhook.url")),
        ({"json": references(webhook={"url": "https://example.org/"})},
         (422, "invalid_option", "webhook.secret")),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}},
         (422, "invalid_option", "body")),
        ({"content": b"", "headers": {"Content-Type": "application/json"}},
         (400, "empty_body", None)),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_job_is_refused_and_leaves_nothing(api_only, send, expected):
    answer = await api_only.post(URL, **send)
    assert problem(answer) == expected, answer.text
    assert stored(api_only.folder) == []
    assert not any((api_only.folder / "uploads").iterdir())
    assert (await api_only.get(URL)).json()["data"] == []


@pytest.fixture
async def api_only(tmp_path):
    """Run a server that only accepts jobs, with small limits."""
    async with job_server(
        tmp_path, worker=False, max_job_items=3, max_upload_bytes=70_000,
        max_job_upload_bytes=120_000,
    ) as client:  # fmt: skip
        client.folder = tmp_path
        client.service.model = MODEL  # as if it had one, whose precision is then known
        yield client


async def test_a_client_that_goes_away_leaves_nothing(tmp_path):
    async with job_server(tmp_path, worker=False) as client:
        sent = asyncio.Event()

        async def body():
            yield (
                HEAD
                + b"filename=a.wav\r\n\r\n"
                + recording()
                + b"\r\n"
                + HEAD
                + b"filename=b.wav\r\n\r\nhalf"
            )
            sent.set()
            await asyncio.sleep(60)

        posting = asyncio.create_task(
            client.post(
                URL, content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"}
            )
        )
        await sent.wait()
        posting.cancel()
        await asyncio.wait({posting})
        assert stored(tmp_path) == []
        assert not any((tmp_path / "uploads").iterdir())


async def test_another_callers_job_is_as_if_it_were_not_there(tmp_path):
    async with job_server(tmp_path, worker=False, api_keys=KEYS) as client:
        job = await submit(client, "a.wav", headers=ANNA)
        path = f"{URL}/{job['id']}"
        for method, place in (
            ("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/items"),
            ("GET", "/items/0"), ("GET", "/items/0/result"), ("GET", "/results.zip"),
            ("GET", "/events"),
        ):  # fmt: skip
            theirs = await client.request(method, path + place, headers=BEN)
            none = await client.request(method, f"{URL}/job_{'0' * 24}{place}", headers=ANNA)
            assert problem(theirs)[:2] == problem(none)[:2] == (404, "job_not_found"), place
        assert (await client.get(URL, headers=BEN)).json()["data"] == []
        # Each has keys of their own.
        key = {"Idempotency-Key": "1"}
        mine = await submit(client, "b.wav", headers=ANNA | key)
        theirs = await submit(client, "c.wav", headers=BEN | key)
        assert mine["id"] != theirs["id"]
        assert (await client.get(path, headers=ANNA)).json()["status"] == "queued"


async def test_a_key_without_the_scope_opens_no_jobs(tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text(
        '[[keys]]\nname = "a"\nsha256 = '
        '"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"\n'
        'scopes = ["transcribe"]\n'
    )
    keys.chmod(0o600)
    async with job_server(tmp_path, worker=False, api_keys_file=keys) as client:
        secret = {"X-API-Key": "secret"}
        assert problem(await client.get(URL, headers=secret))[:2] == (403, "forbidden")
        answer = await client.post(
            "/v1/transcriptions", content=recording(), headers=secret | {"Prefer": "respond-async"}
        )
        assert problem(answer)[:2] == (403, "forbidden")
        assert problem(await client.get(URL))[:2] == (401, "unauthenticated")


async def test_a_keys_limit_of_seconds_holds_for_its_items(tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text(
        '[[keys]]\nname = "a"\nsha256 = '
        '"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"\n'
        "max_audio_seconds = 1.0\n"
    )
    keys.chmod(0o600)
    secret = {"X-API-Key": "secret"}
    async with job_server(tmp_path, api_keys_file=keys) as client:
        long = await submit(client, "a.wav", content=recording(2.0), headers=secret)
        short = await submit(client, "b.wav", headers=secret)
        long, short = [await ended(client, job, **secret) for job in (long, short)]
        assert (long["status"], short["status"]) == ("failed", "succeeded")
        item = (await client.get(f"{URL}/{long['id']}/items/0", headers=secret)).json()
    assert item["error"]["code"] == "audio_too_long"


@pytest.mark.parametrize(
    "name", ["job_1", "x", "job_" + "0" * 24 + "%00", "%00", "job_" + "G" * 24]
)
async def test_what_is_no_id_is_no_job(tmp_path, name):
    async with job_server(tmp_path, worker=False) as client:
        assert problem(await client.get(f"{URL}/{name}"))[:2] == (404, "job_not_found")


async def test_lists_are_walked_by_their_cursors(tmp_path):
    async with job_server(tmp_path, worker=False) as client:
        made = [(await client.post(URL, json=references(5))).json()["id"] for _ in range(5)]
        seen, after = [], None
        while True:
            query = {"limit": 2} | ({"after": after} if after else {})
            page = (await client.get(URL, params=query)).json()
            seen += [job["id"] for job in page["data"]]
            after = page["next_cursor"]
            if after is None:
                break
            assert len(page["data"]) == 2
        assert seen == made[::-1]
        await client.post(f"{URL}/{made[0]}/cancel")
        canceled = (await client.get(URL, params={"status": "canceled"})).json()["data"]
        assert [job["id"] for job in canceled] == [made[0]]
        numbers, after = [], None
        while True:
            query = {"limit": 2} | ({"after": after} if after else {})
            page = (await client.get(f"{URL}/{made[1]}/items", params=query)).json()
            numbers += [item["number"] for item in page["data"]]
            after = page["next_cursor"]
            if after is None:
                break
        assert numbers == [0, 1, 2, 3, 4]
        for query in ({"after": "x"}, {"limit": 0}, {"limit": 101}, {"status": "gone"}):
            answer = await client.get(URL, params=query)
            assert problem(answer)[:2] == (422, "invalid_option"), query
        for number in ("5", "99999999999999999999", str(2**31)):
            answer = await client.get(f"{URL}/{made[1]}/items/{number}")
            assert problem(answer)[:2] == (404, "job_not_found"), number
        assert (await client.get(f"{URL}/{made[1]}/items/-1")).status_code == 422


async def test_cancel_and_delete(tmp_path):
    backend = HeldBackend()
    async with job_server(tmp_path, load=loader(backend)) as client:
        job = await submit(client, "a.wav", "b.wav")
        await until(lambda: backend.inserted)
        assert problem(await client.get(f"{URL}/{job['id']}/items/0/result"))[0] == 409
        assert problem(await client.get(job["links"]["results"]))[0] == 409
        canceled = (await client.post(f"{URL}/{job['id']}/cancel")).json()
        assert canceled["status"] == "canceled"
        assert canceled["progress"]["items_canceled"] == 2
        assert problem(await client.post(f"{URL}/{job['id']}/retry"))[:2] == (409, "job_conflict")
        again = (await client.post(f"{URL}/{job['id']}/cancel")).json()
        assert again["ended_at"] == canceled["ended_at"]
        assert stored(tmp_path) != []
        answer = await client.delete(job["links"]["self"])
        assert (answer.status_code, answer.content) == (204, b"")
        assert stored(tmp_path) == []
        assert (await client.get(job["links"]["self"])).status_code == 404
        assert (await client.delete(job["links"]["self"])).status_code == 404
        backend.let(50)


async def test_ten_thousand_inputs_are_answered_at_once(tmp_path, show):
    async with job_server(tmp_path, worker=False) as client:
        body = references(10_000)
        seconds = []
        for _ in range(2):  # the quicker of two: what else the machine does is not in it
            began = time.monotonic()
            answer = await client.post(URL, json=body)
            seconds.append(time.monotonic() - began)
            assert answer.status_code == 202
            assert answer.json()["progress"]["items_total"] == 10_000
        took = min(seconds)
        show(f"10,000 inputs submitted in {took:.2f} s")
        answer = await client.post(URL, json=references(10_001))
        assert problem(answer) == (422, "invalid_option", "inputs")


async def test_jobs_go_with_their_time(tmp_path):
    async with job_server(tmp_path, job_retention_seconds=60.0) as client:
        job = await submit(client, "a.wav")
        await ended(client, job)
        await client.service.jobs.sweep(time.time() + 61)
        assert (await client.get(job["links"]["self"])).status_code == 404
        assert stored(tmp_path) == []
        assert (await client.get("/metrics")).text.count('mt3_swept_total{kind="jobs"} 1.0') == 1


async def test_a_server_that_keeps_no_jobs_says_so(tmp_path):
    async with serving(tmp_path, jobs=False) as client:
        assert problem(await client.get(URL))[:2] == (404, "jobs_disabled")
        answer = await client.post(
            "/v1/transcriptions", content=recording(), headers={"Prefer": "respond-async"}
        )
        assert problem(answer)[:2] == (404, "jobs_disabled")


async def test_an_item_that_the_device_fails_on_is_tried_again(tmp_path):
    async with job_server(tmp_path, load=loader(PoisonedBackend(0))) as client:
        job = await submit(client, "a.wav")
        async with asyncio.timeout(400):
            while True:
                item = (await client.get(f"{URL}/{job['id']}/items/0")).json()
                if item["error"] and item["status"] == "queued":  # 2 s, then 10 s, then 60 s
                    break
                await asyncio.sleep(0.05)
        assert item["error"]["code"] == "engine_failure"
