"""axe-core's rules, the keyboard path, color schemes and widths."""

import json
from pathlib import Path

import pytest

from tests.web.conftest import transcribe, wait_done

AXE = Path(__file__).parents[2] / "service" / "web" / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is missing (make test-page)")


def violations(page):
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run().then((result) => JSON.stringify(result.violations))")
    return [
        (rule["id"], node["html"][:200], node["failureSummary"][:300])
        for rule in json.loads(found)
        for node in rule["nodes"]
    ]


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, server, song, scheme):
    page = visit(server.address, color_scheme=scheme, reduced_motion="reduce")
    page.get_by_text("Options", exact=True).click()
    assert violations(page) == []
    transcribe(page, song)
    wait_done(page)
    assert violations(page) == []
    page.get_by_role("button", name="Back").click()
    transcribe(page, song, song)
    page.get_by_role("button", name="Download all").wait_for()
    assert violations(page) == []


def test_the_keyboard_alone_reaches_playback(visit, server, song):
    page = visit(server.address)
    page.get_by_role("heading", name="Drop a recording").wait_for()
    reached = press_until(page, lambda name: name == "files")
    assert reached, "the choice of files"
    transcribe(page, song)
    wait_done(page)
    assert press_until(page, lambda name: name == "Play")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").wait_for()


def press_until(page, condition, *, most=40):
    script = (
        "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.id ?? ''"
    )
    for _ in range(most):
        page.keyboard.press("Tab")
        if condition(page.evaluate(script)):
            return True
    return False


@pytest.mark.parametrize("width", [360, 800, 1920])
def test_nothing_is_wider_than_the_screen(visit, server, song, width):
    page = visit(server.address)
    page.set_viewport_size({"width": width, "height": 740})
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.get_by_text("Options", exact=True).click()
    assert page.evaluate(overflow) <= 0
    transcribe(page, song)
    wait_done(page)
    assert page.evaluate(overflow) <= 0
