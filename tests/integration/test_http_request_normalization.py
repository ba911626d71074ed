"""Every form of a request line: HEAD, OPTIONS, slashes, absolute URLs, empty parameters."""

import asyncio

import pytest

from service.auth.api_keys import generate_key
from tests.integration.job_server import ended, job_server, submit
from tests.integration.listening import listening
from tests.integration.problems import URL, assert_problem
from tests.integration.serving import recording, serving

STABLE = ("x-request-id", "server-timing", "date")


def head_of(response):
    return {name: value for name, value in response.headers.items() if name not in STABLE}


PATHS = (
    "/health", "/ready", "/metrics", "/v1/models", "/v1/instruments", "/docs", "/docs/start.js",
    "/openapi.json", "/v1/nothing",
)  # fmt: skip


async def test_head_gives_the_head_of_get(tmp_path):
    async with serving(tmp_path) as client:
        for path in PATHS:
            got = await client.get(path)
            head = await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            expected = head_of(got)
            if path == "/metrics":  # which counts the request before
                expected["content-length"] = head.headers["content-length"]
            assert head_of(head) == expected


async def test_head_of_a_route_without_get_names_its_methods(tmp_path):
    async with serving(tmp_path) as client:
        head = await client.head(URL)
        got = await client.get(URL)
    assert (head.status_code, head.headers["allow"]) == (405, "OPTIONS, POST")
    assert "GET" in assert_problem(got, 405, "method_not_allowed").detail


async def test_head_is_counted_as_head(tmp_path):
    async with serving(tmp_path) as client:
        await client.head("/health")
        metrics = (await client.get("/metrics")).text
    assert 'mt3_http_requests_total{method="HEAD",route="/health",status="200"} 1.0' in metrics


async def test_options_names_the_methods(tmp_path):
    async with serving(tmp_path) as client:
        answers = [await client.options(path) for path in (URL, "/health", "/v1/nothing")]
    assert [answer.status_code for answer in answers] == [204, 204, 404]
    assert [answer.headers.get("allow") for answer in answers] == [
        "OPTIONS, POST", "GET, HEAD, OPTIONS", None,
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/models/", "//v1/models", "/v1//models", "/v1/models%2F"])
async def test_slashes_too_many_change_nothing(tmp_path, path):
    async with serving(tmp_path) as client:
        assert (await client.get(f"http://test{path}")).json()["object"] == "list"


async def test_a_post_with_a_trailing_slash_keeps_its_body(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(f"{URL}/", content=recording())
    assert len(response.json()["notes"]) == 2


async def test_slashes_open_nothing_that_needs_a_key(tmp_path):
    key = generate_key()
    async with serving(tmp_path, api_keys=f"a:{key}") as client:
        for path in ("/v1/models/", "//v1/models", "/docs/../v1/models", "/docs//../v1/models"):
            response = await client.get(f"http://test{path}")
            assert response.status_code in (401, 404), path
            assert "object" not in response.json()
        assert (await client.get("http://test//health")).status_code == 200


async def test_the_page_is_at_its_own_address(tmp_path):
    # The page's links are relative.
    async with serving(tmp_path) as client:
        response = await client.get("/docs/")
    assert (response.status_code, response.headers["location"]) == (307, "../docs")


async def test_empty_options_are_absent(tmp_path):
    async with serving(tmp_path) as client:
        query = await client.post(
            f"{URL}?start=&end=&model=&stream=&response_format=", content=recording()
        )
        form = await client.post(
            URL,
            files={"file": ("a.wav", recording())},
            data={"start": "", "end": "0.25", "precision": ""},
            params={"end": ""},
        )
        unknown = await client.post(URL, files={"file": ("a.wav", recording())}, data={"begin": ""})
    assert query.json()["options"]["start"] == 0.0
    assert form.json()["options"]["end"] == 0.25
    assert_problem(unknown, 422, "invalid_option", param="begin")


NUMBERS = [
    "1_0",
    "٣",
    "３",
    "1e1",
    " 10",
    "10 ",
    "nan",
    "inf",
    "0x10",
    "+5",
    "-1",
    "-0",
    "1,5",
    ".",
]


async def test_only_plain_decimal_numbers_are_numbers(tmp_path):
    async with job_server(tmp_path) as client:

        async def refuse(param, url, **request):
            assert_problem(await client.post(url, **request), 422, "invalid_option", param=param)

        for text in NUMBERS:
            await refuse("start", URL, content=recording(), params={"start": text})
            file = {"file": ("a.wav", recording())}
            await refuse("end", URL, files=file, data={"end": text})
            expiry = {"expires_in_seconds": text}
            await refuse("expires_in_seconds", "/v1/jobs", files=file, data=expiry)
            inputs = [{"url": "https://example.org/a.mp3"}]
            await refuse("start", "/v1/jobs", json={"inputs": inputs, "options": {"start": text}})
            await refuse("expires_in_seconds", "/v1/jobs", json={"inputs": inputs, **expiry})
            page = await client.get("/v1/jobs", params={"limit": text})
            assert_problem(page, 422, "invalid_option", param="limit")


async def test_json_numbers_may_have_exponents_and_null_is_absent(tmp_path):
    options = {"start": 1e-5, "end": 1e1, "model": None, "decoding": "", "precision": None}
    body = {"inputs": [{"url": "https://example.org/a.mp3"}], "options": options, "metadata": None}
    async with job_server(tmp_path) as client:
        job = await client.post("/v1/jobs", json=body)
    assert job.status_code == 202, job.text
    assert (job.json()["options"]["start"], job.json()["options"]["end"]) == (1e-5, 10.0)
    assert job.json()["metadata"] == {}


async def test_head_of_a_job_writes_no_archive_and_no_events(tmp_path):
    async with job_server(tmp_path) as client:
        job = await submit(client, "a.wav")
        await ended(client, job)
        for path in ("", "/items", "/items/0", "/items/0/result", "/results.zip", "/events"):
            url = f"/v1/jobs/{job['id']}{path}"
            got = await client.get(url)
            head = await client.head(url)
            assert (head.status_code, head.content) == (200, b"")
            assert head_of(head) == head_of(got), path


async def test_whole_urls_are_their_paths_and_obey_the_same_hosts(tmp_path):
    async with listening(tmp_path) as (port, _):

        async def ask(line, host="localhost"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            return int(head.split()[1]), body

        assert await ask("GET http://localhost/health") == (200, b'{"status":"ok"}')
        assert await ask("HEAD http://localhost/health") == (200, b"")
        assert (await ask("GET http://localhost//v1/models/?x=", "evil.example"))[0] == 200
        # The URL's authority counts, and not the header (RFC 9112, 3.2.2).
        for line in ("GET http://evil.example/health", "GET HTTP://evil.example:80/v1/models"):
            status, body = await ask(line)
            assert status == 421
            assert b"host_not_allowed" in body
        for target in (
            "ftp://localhost/health",
            "http:///",
            "http://a:b@localhost/",
            "health",
            "*",
        ):
            status, body = await ask(f"GET {target}")
            assert (status, b"malformed_request" in body) == (400, True), target
        assert (await ask("CONNECT localhost:80"))[0] == 400
        assert (await ask("OPTIONS *"))[0] == 204
