"""Access control: keys, scopes, hosts, origins, and the headers of every response."""

import json
from pathlib import Path

import httpx2
import pytest

from mt3_model.errors import OptionError
from service.api import security
from service.api.app import create_app, describe_api
from service.api.authentication import is_public
from service.api.security import HEADERS
from service.auth.api_keys import digest_of
from service.settings import Settings
from tests.integration.serving import loader, recording, serving

ALICE, WATCH, GONE = ("mt3_" + letter * 43 for letter in "awg")
WAV = {"Content-Type": "audio/wav"}
FOLDER = Path(security.__file__).parent


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[[keys]]\nname = "alice"\nsha256 = "{digest_of(ALICE).hex()}"\n'
        f'[[keys]]\nname = "watch"\nsha256 = "{digest_of(WATCH).hex()}"\nscopes = ["metrics"]\n'
        f'[[keys]]\nname = "gone"\nsha256 = "{digest_of(GONE).hex()}"\nexpires = 2020-01-01\n'
    )
    path.chmod(0o600)
    return path


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def operations():
    """Return every method and path of the contract, with its parameters filled in."""
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in describe_api()["paths"].items()
        for method in methods
    ]


async def post(client, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/v1/transcriptions", content=recording(), headers=WAV | names)


class NeverRead(httpx2.AsyncByteStream):
    """A body that fails the test if it is read."""

    async def __aiter__(self):
        raise AssertionError("the body was read")
        yield b""


async def test_every_route_but_the_public_ones_needs_a_key(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        for method, path in operations():
            answer = await client.request(method, path)
            assert (answer.status_code == 401) != is_public(path), (method, path)
        for path in ("/docs", "/docs/start.js", "/openapi.json", "/health", "/ready"):
            assert (await client.get(path)).status_code == 200
        # Missing resources cannot be told from others'.
        assert (await client.get("/v1/nothing")).status_code == 401


async def test_a_key_opens_in_either_header(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        for headers in (
            {"Authorization": f"Bearer {ALICE}"},
            {"Authorization": f"bearer  {ALICE}"},
            {"X-API-Key": ALICE},
            {"X-API-Key": ALICE, "Authorization": f"Bearer {ALICE}"},
            {"X-API-Key": ALICE, "Authorization": "Basic cHJveHk6cHJveHk="},
        ):
            answer = await post(client, **headers)
            assert answer.status_code == 200, headers
            assert (await client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        # The message is the same for every fault of a key.
        (
            [
                bearer("wrong"), bearer(ALICE[:-1]), bearer(GONE), bearer(digest_of(ALICE).hex()),
                [("X-API-Key", "ü".encode("latin-1"))],
            ],
            "unknown to this server",
        ),
        ([{}, bearer(""), {"X-API-Key": ""}], "has no API key"),
        ([{"Authorization": ALICE}, {"Authorization": f"Basic {ALICE}"}], "not of the form"),
        (
            [
                {"X-API-Key": WATCH, "Authorization": f"Bearer {ALICE}"},
                [("X-API-Key", ALICE), ("X-API-Key", WATCH)],
            ],
            "several different keys",
        ),
    ],
)  # fmt: skip
async def test_a_refusal_says_whether_there_was_a_key(tmp_path, key_file, requests, words):
    seen = set()
    async with serving(tmp_path, api_keys_file=key_file) as client:
        for headers in requests:
            request = client.build_request("POST", "/v1/transcriptions", headers=headers)
            request.stream = NeverRead()
            answer = await client.send(request)
            body = answer.json()
            assert body.pop("request_id") == answer.headers["X-Request-ID"]
            assert answer.headers["Content-Type"] == "application/problem+json"
            seen.add((answer.status_code, json.dumps(body), answer.headers["WWW-Authenticate"]))
    ((status, body, challenge),) = seen
    assert (status, challenge) == (401, "Bearer")
    assert json.loads(body)["code"] == "unauthenticated"
    assert words in json.loads(body)["detail"]
    assert ALICE not in body


async def test_a_key_opens_only_what_its_scopes_say(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        refused = await post(client, **bearer(WATCH))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "'transcribe'" in refused.json()["detail"]
        assert (await client.get("/metrics", headers=bearer(WATCH))).status_code == 200
        assert (await client.get("/metrics", headers=bearer(ALICE))).status_code == 403
        assert (await client.get("/v1/instruments", headers=bearer(WATCH))).status_code == 200


async def test_a_refused_gigabyte_is_not_taken(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        large = await client.post(
            "/v1/transcriptions", content=b"", headers={"Content-Length": "1000000000"}
        )
        small = await client.post("/v1/transcriptions", content=b"x")
    assert large.headers["Connection"] == "close"
    assert "Connection" not in small.headers


async def test_a_changed_file_counts_for_the_next_request(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        key_file.write_text("keys = []")
        client.service.keys.refresh()
        assert (await post(client, **bearer(ALICE))).status_code == 401
        key_file.write_text("")
        client.service.keys.refresh()
        assert (await post(client)).status_code == 401


async def test_neither_key_nor_its_owner_is_in_the_contract_or_the_settings_text():
    settings = Settings(api_keys=f"alice:{ALICE}")
    assert ALICE not in repr(settings) + str(settings.model_dump())


def test_the_contract_names_both_ways_to_send_a_key():
    contract = describe_api()
    assert contract["components"]["securitySchemes"] == {
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "An API key, if the server requires one.",
        },
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "The same key.",
        },
    }  # fmt: skip
    for path, methods in contract["paths"].items():
        for operation in methods.values():
            expected = None if is_public(path) else [{"bearer": []}, {"apiKey": []}, {}]
            assert operation.get("security") == expected, path


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/v1/models"), ("GET", "/nothing"), ("GET", "/metrics"),
     ("POST", "/v1/transcriptions"), ("GET", "/docs"), ("DELETE", "/health")],
)  # fmt: skip
async def test_every_answer_has_the_security_headers(tmp_path, method, path):
    async with serving(tmp_path) as client:
        answer = await client.request(method, path)
    for name in HEADERS:
        assert len(answer.headers.get_list(name)) == 1, name
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"].split("style-src")[0]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if path.startswith(("/v1", "/metrics")):
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Server" not in answer.headers


async def test_a_fault_of_ours_has_them_too(tmp_path):
    def break_it(settings):
        raise RuntimeError

    async with serving(tmp_path, load=break_it, wait=False) as client:
        client.service.require_ready = break_it
        answer = await client.get("/ready")
    assert answer.status_code == 500
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:80", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7",
     "studio", "studio.local:8000", "mt3.svc.cluster.local", "a.localhost", "localhost."],
)  # fmt: skip
async def test_names_that_no_strangers_dns_can_hold_are_answered(tmp_path, host):
    async with serving(tmp_path) as client:
        assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example",
     "evil.example@localhost", "localhost:8000@evil.example", "", "local host", "evil.example.",
     "[::1].evil.example", "127.0.0.1:99999999"],
)  # fmt: skip
async def test_a_rebound_name_is_refused(tmp_path, host):
    async with serving(tmp_path) as client:
        answer = await client.get("/v1/models", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")


async def test_names_can_be_allowed_and_keys_make_them_needless(tmp_path, key_file):
    named = {"Host": "mt3.example"}
    async with serving(tmp_path, allowed_hosts="MT3.example, other.example") as client:
        assert (await client.get("/v1/models", headers=named)).status_code == 200
        assert (await client.get("/v1/models", headers={"Host": "x.example"})).status_code == 421
    async with serving(tmp_path, allowed_hosts="*") as client:
        assert (await client.get("/v1/models", headers=named)).status_code == 200
    async with serving(tmp_path, api_keys_file=key_file) as client:
        answer = await client.get("/v1/models", headers=named | bearer(ALICE))
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl
        ({"Origin": "http://test"}, 200),  # a page of this server
        ({"Origin": "http://test:80"}, 200),
        ({"Origin": "https://test"}, 200),  # TLS ended in front
        ({"Origin": "https://test:444"}, 403),
        ({"Origin": "http://test:3000"}, 403),  # another program's page on this machine
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),  # a sandboxed frame, a file
        ({"Origin": "http://evil.example http://test"}, 403),
        ({"Origin": "http://test@evil.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_pages_of_other_sites_cannot_post(tmp_path, headers, status):
    async with serving(tmp_path) as client:
        answer = await client.post("/v1/transcriptions", content=recording(), headers=WAV | headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "origin_not_allowed"
        assert list(tmp_path.iterdir()) == []


async def test_with_keys_a_page_that_has_one_may_post(tmp_path, key_file):
    async with serving(tmp_path, api_keys_file=key_file) as client:
        answer = await post(client, **bearer(ALICE), Origin="https://app.example")
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_cors_is_off_by_default(tmp_path):
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with serving(tmp_path) as client:
        answer = await client.options("/v1/transcriptions", headers=preflight)
        assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")
        assert "Access-Control-Allow-Origin" not in answer.headers


def documented_headers():
    """Return the response headers that openapi.json or the chapter on the API names."""
    named = {"Accept-Encoding", "Allow", "Retry-After", "Server-Timing", "X-Request-ID"}
    chapter = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in chapter for name in named)
    document = json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))
    operations = [each for path in document["paths"].values() for each in path.values()]
    for operation in operations:
        for response in operation["responses"].values():
            named |= set(response.get("headers", {}))
    return named


async def test_cors_is_for_exactly_the_origins_named(tmp_path, key_file):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    origins = "https://app.example, http://localhost:3000"
    async with serving(tmp_path, api_keys_file=key_file, cors_origins=origins) as client:
        for origin in ("https://app.example", "http://localhost:3000"):
            preflight = await client.options(
                "/v1/transcriptions", headers=asked | {"Origin": origin}
            )
            assert preflight.status_code == 200
            assert preflight.headers["Access-Control-Allow-Origin"] == origin
            assert "Access-Control-Allow-Credentials" not in preflight.headers
            refused = await post(client, Origin=origin)  # readable by the page, though refused
            assert refused.status_code == 401
            assert refused.headers["Access-Control-Allow-Origin"] == origin
            exposed = refused.headers["Access-Control-Expose-Headers"].split(", ")
            assert documented_headers() <= set(exposed)
        for origin in ("https://app.example.evil.example", "http://app.example", "null"):
            answer = await client.options("/v1/transcriptions", headers=asked | {"Origin": origin})
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_named_origin_may_use_a_server_without_keys(tmp_path):
    async with serving(tmp_path, cors_origins="https://app.example") as client:
        assert (await post(client, Origin="https://app.example")).status_code == 200
        assert (await post(client, Origin="https://evil.example")).status_code == 403


@pytest.mark.parametrize(
    "origins", ["app.example", "https://app.example/", "https://*.example", "https://App.example"]
)
def test_what_is_no_origin_is_refused_at_the_start(origins):
    with pytest.raises(OptionError, match="expected origins like"):
        create_app(Settings(cors_origins=origins), load=loader())


@pytest.mark.parametrize(
    "hosts", ["http://", "https://mt3.example", "/dev/null", "mt3.example:8000", "*.example", "."]
)
def test_what_is_no_host_name_is_refused_at_the_start(hosts):
    with pytest.raises(OptionError, match="is not a host name"):
        create_app(Settings(allowed_hosts=f"other.example,{hosts}"), load=loader())


def test_every_page_is_let_in_only_where_everybody_is(key_file):
    with pytest.raises(OptionError, match="every web page"):
        create_app(Settings(cors_origins="*"), load=loader())
    create_app(Settings(cors_origins="*", allow_anonymous=True), load=loader())
    create_app(Settings(cors_origins="*", api_keys_file=key_file), load=loader())


async def test_heads_beyond_all_use_are_refused(tmp_path):
    async with serving(tmp_path) as client:
        for answer in (
            await client.get("/health", headers={"X-Long": "x" * 33_000}),
            await client.get("/health?" + "x" * 33_000),
            await client.get("/health", headers={f"X-{number}": "" for number in range(100)}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (431, "head_too_large")
        assert (await client.get("/health", headers={"X": "x" * 30_000})).status_code == 200


async def ask_over(address, settings, path="/v1/models", **headers):
    """Call an application as a server on that address would."""
    app = create_app(settings, load=loader())
    transport = httpx2.ASGITransport(app)

    async def with_address(scope, receive, send):
        await app(scope | {"server": (address, 8000)}, receive, send)

    transport.app = with_address
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("::ffff:127.0.0.1", 200),
     ("192.168.1.7", 403), ("2001:db8::1", 403), ("fe80::1%eth0", 403), ("::ffff:10.0.0.1", 403)],
)  # fmt: skip
async def test_under_any_server_a_public_address_needs_keys_or_leave(address, status, key_file):
    assert await ask_over(address, Settings()) == status
    assert await ask_over(address, Settings(), "/health") == 200
    assert await ask_over(address, Settings(allow_anonymous=True)) == 200
    keys = Settings(api_keys_file=key_file)
    assert await ask_over(address, keys) == 401
    assert await ask_over(address, keys, Authorization=f"Bearer {ALICE}") == 200
