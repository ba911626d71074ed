"""`/docs` in a real browser: it renders, and a recording can be tried, with and without a key."""

import re
import shutil

import pytest

from service.api import docs
from service.auth.api_keys import generate_key
from tests.integration.processes import server_process
from tests.integration.serving import recording, serving

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


async def test_everything_the_page_loads_is_on_this_server(tmp_path):
    async with serving(tmp_path) as client:
        page = await client.get("/docs")
        assert page.headers["Content-Type"].startswith("text/html")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(loaded) == 5
        for path in loaded:
            assert not path.startswith(("http", "//"))
            answer = await client.get(f"/{path}")
            assert answer.status_code == 200, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        # No script in the page, which its policy forbids.
        assert not re.search(r"<script>|\son\w+=|javascript:", page.text)
        assert page.headers["Content-Security-Policy"] == docs.POLICY
        assert "unsafe" not in docs.POLICY


async def test_the_address_alone_says_what_is_here(tmp_path):
    async with serving(tmp_path, api_keys=f"alice:{generate_key()}") as client:
        listed = (await client.get("/")).json()
        contract = (await client.get("/openapi.json")).json()
    assert listed["routes"]["POST /v1/transcriptions"] == "Transcribe a recording"
    operations = [each for path in contract["paths"].values() for each in path.values()]
    for operation in operations:
        # A title for people, and not the function's name in other letters.
        assert operation["summary"] != operation["operationId"].replace("_", " ").title()
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    # Only this server knows its address.
    assert "localhost" not in str(contract)


@pytest.mark.parametrize("name", ["index.html", "..%2f__init__.py", "swagger-ui.js", "%2e%2e"])
async def test_nothing_else_of_the_package_is_served(tmp_path, name):
    async with serving(tmp_path) as client:
        answer = await client.get(f"/docs/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("key", [None, generate_key()], ids=["open", "with_key"])
def test_a_recording_can_be_tried(tmp_path, key):
    sync_api = pytest.importorskip("playwright.sync_api")
    song = tmp_path / "song.wav"
    song.write_bytes(recording(3.0))
    environment = {} if key is None else {"MT3_API_KEYS": f"alice:{key}"}
    with (
        server_process(tmp_path, **environment) as server,
        sync_api.sync_playwright() as playwright,
    ):
        server.wait_ready()
        # No sandbox: tests may run as root in a container, and the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        complaints, hosts = [], set()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(f"{server.address}/docs")
        if key is not None:
            page.locator(".btn.authorize").first.click()
            dialog = page.locator(".modal-ux")
            dialog.locator("input").first.fill(key)
            dialog.locator("button[type=submit]").first.click()
            dialog.locator(".btn-done").first.click()
        operation = page.locator("#operations-transcriptions-create_transcription")
        operation.locator(".opblock-summary").click()
        for option in ("start", "response_format"):
            assert operation.locator(f"[data-param-name={option}]").count() == 0, (
                "once, in the form"
            )
        operation.locator("input[type=file]").set_input_files(song)
        with page.expect_response("**/v1/transcriptions") as posted:
            operation.locator(".execute").click()
        answer = posted.value
        assert answer.status == 200
        assert answer.json()["object"] == "transcription"
        assert answer.json()["notes"]
        page.locator(".live-responses-table").wait_for()
        assert complaints == []
        assert hosts == {server.address.removeprefix("http://")}
        browser.close()
