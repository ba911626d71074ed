"""The files of the page at `/`: policy and caching, only the page's own files; `/v1/soundfont`."""

import re

import pytest

from service.api.routes import page
from service.auth.api_keys import generate_key
from tests.integration.serving import serving

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_a_browser_gets_the_page_and_all_it_loads_without_a_key(tmp_path):
    async with serving(tmp_path, api_keys=f"alice:{generate_key()}") as client:
        answer = await client.get("/", headers=BROWSER)
        assert answer.headers["Content-Type"].startswith("text/html")
        loaded = re.findall(r'(?:src|href)="\./([^"]+)"', answer.text)
        assert len(loaded) >= 3
        for path in loaded:
            asset = await client.get(f"/{path}")
            assert asset.status_code == 200, path
            assert "immutable" in asset.headers["Cache-Control"]
            assert asset.headers["X-Content-Type-Options"] == "nosniff"
        kinds = {(await client.get(f"/{path}")).headers["Content-Type"] for path in loaded}
    assert {kind.partition(";")[0] for kind in kinds} == {
        "text/javascript", "text/css", "image/svg+xml"
    }  # fmt: skip


async def test_the_policy_allows_this_server_only_and_no_inline_code(tmp_path):
    async with serving(tmp_path) as client:
        answer = await client.get("/", headers=BROWSER)
    policy = answer.headers["Content-Security-Policy"]
    assert policy == page.POLICY
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|https?://", answer.text)
    assert "microphone=(self)" in answer.headers["Permissions-Policy"]
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_other_clients_get_the_routes(tmp_path):
    async with serving(tmp_path) as client:
        listed = await client.get("/")
    assert "POST /v1/transcriptions" in listed.json()["routes"]
    assert listed.headers["Vary"] == "Accept"


@pytest.mark.parametrize("name", ["..%2findex.html", "index.html", "sources.sha256", "%2e%2e"])
async def test_nothing_else_of_the_package_is_served(tmp_path, name):
    async with serving(tmp_path) as client:
        answer = await client.get(f"/assets/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_soundfont_is_the_one_of_the_setting(tmp_path):
    soundfont = tmp_path / "small.sf2"
    soundfont.write_bytes(b"RIFF....sfbk")
    async with serving(tmp_path, soundfont=soundfont) as client:
        answer = await client.get("/v1/soundfont")
    assert answer.content == b"RIFF....sfbk"
    assert answer.headers["Cache-Control"] == "private, max-age=604800"


async def test_the_soundfont_needs_a_key_where_there_are_keys(tmp_path):
    key = generate_key()
    async with serving(tmp_path, api_keys=f"alice:{key}", offline=True) as client:
        assert (await client.get("/v1/soundfont")).status_code == 401
        answer = await client.get("/v1/soundfont", headers={"X-API-Key": key})
    assert answer.status_code == 200
