"""The page in a real browser, with a server over the fake backend.

Every test fails if the page writes to the console, raises an error or asks another host.
"""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.processes import server_process
from tests.integration.serving import recording
from tests.waiting import wait_until

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WAIT_MILLISECONDS = 120_000
FLAGS = [
    "--no-sandbox",  # tests may run as root in a container, and the page is our own
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
pytestmark = pytest.mark.browser


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with started(tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory):
    """Run a slow server with one slot, so that a transcription is in progress for a while."""
    environment = {"MT3_SLOTS": "1", "MT3_FAKE_ITERATION_SECONDS": "0.2"}
    with started(tmp_path_factory.mktemp("uploads"), **environment) as running:
        yield running


def started(folder, **environment):
    return _ready(server_process(folder, MT3_OFFLINE="true", **environment))


@dataclasses.dataclass
class _ready:  # noqa: N801 (used as a function)
    process: object

    def __enter__(self):
        server = self.process.__enter__()
        server.wait_ready()
        return server

    def __exit__(self, *error):
        return self.process.__exit__(*error)


@pytest.fixture
def song(tmp_path):
    """Seven seconds, of which the fake backend makes four segments."""
    path = tmp_path / "My song.wav"
    path.write_bytes(recording(7.0))
    return path


@pytest.fixture
def long_song(tmp_path):
    path = tmp_path / "Long song.wav"
    path.write_bytes(recording(60.0))
    return path


@pytest.fixture
def visit(browser):
    """Open the page of a server; check at the end that it logged no error."""
    contexts, complaints, hosts, expected = [], [], set(), set()

    def open_page(address, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        expected.add(address.split("/")[2])
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A refused request is logged by the browser itself.
    refused = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
    assert [text for text in complaints if not refused.match(text)] == []
    assert {host for host in hosts if host} <= expected


def transcribe(page, *paths):
    page.locator("#files").set_input_files(list(paths))


def wait_done(page):
    page.get_by_role("button", name="Other options").wait_for()


def level(page):
    return float(page.locator(".meter").get_attribute("aria-valuenow"))


def position(page):
    """Return the seconds that the page shows, a moment later."""
    return position_and_level(page)[0]


def position_and_level(page):
    """Return the seconds that the page shows, a moment later, and the level at that moment."""
    page.wait_for_timeout(15)
    shown, loudness = page.evaluate(
        """() => [
            document.querySelector(".time").innerText,
            document.querySelector(".meter").getAttribute("aria-valuenow"),
        ]"""
    )
    minutes, seconds = shown.split(" ")[0].split(":")
    return 60 * int(minutes) + float(seconds), float(loudness)


def wait_level(page, condition):
    """Wait for a level of the sound that fulfills a condition."""
    wait_until(lambda: page.wait_for_timeout(20) or condition(level(page)))
