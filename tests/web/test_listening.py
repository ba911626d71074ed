"""Playback: it starts, the level says so, and mute, solo, crossfade and loop change what sounds.

The fake backend's piano sounds from 0 to 1 s and its drum at 0.5 s, and again every 2.048 s.
"""

import pytest

from tests.waiting import wait_until
from tests.web.conftest import level, position, transcribe, wait_done, wait_level

SOUND = 0.003
SILENCE = 0.0005


@pytest.fixture
def page(visit, server, song):
    opened = visit(server.address)
    transcribe(opened, song)
    wait_done(opened)
    for _ in range(5):  # the transcription alone
        opened.keyboard.press("]")
    opened.keyboard.press("l")
    return opened


def toggle(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def is_silent_for_a_round(page):
    """Whether nothing sounds while the loop goes round once, from one of its beginnings."""
    wait_begin(page, [])
    levels = []
    wait_begin(page, levels)
    return max(levels) < SILENCE


def wait_begin(page, levels):
    """Wait for the loop's next beginning, and note the levels until then."""
    positions = [position(page)]

    def has_begun():
        levels.append(level(page))
        positions.append(position(page))
        return positions[-1] < positions[-2]

    wait_until(has_begun)


def test_playback_is_heard_and_pauses(page):
    toggle(page, "Play")
    wait_level(page, lambda value: value > SOUND)
    begin = position(page)
    wait_until(lambda: position(page) != begin)
    toggle(page, "Pause")
    wait_level(page, lambda value: value == 0)
    held = position(page)
    assert position(page) == held


def test_solo_and_mute_change_what_sounds(page):
    toggle(page, "Mute Acoustic Grand Piano")
    toggle(page, "Mute Drums")
    toggle(page, "Play")
    page.get_by_role("button", name="Pause").wait_for()
    assert is_silent_for_a_round(page)
    toggle(page, "Mute Drums")
    wait_level(page, lambda value: value > SOUND)
    toggle(page, "Mute Drums")
    toggle(page, "Mute Acoustic Grand Piano")
    wait_level(page, lambda value: value > SOUND)
    toggle(page, "Solo Drums")  # which are muted, so that nothing is left
    wait_level(page, lambda value: value < SILENCE)
    assert is_silent_for_a_round(page)
    toggle(page, "Mute Drums")
    wait_level(page, lambda value: value > SOUND)


def test_the_crossfade_reaches_the_recording_alone(page):
    toggle(page, "Mute Acoustic Grand Piano")
    toggle(page, "Mute Drums")
    for _ in range(10):
        page.keyboard.press("[")
    toggle(page, "Play")
    # A steady tone of 0.1: its level is 0.07, times the volume of 0.9.
    wait_level(page, lambda value: 0.05 < value < 0.08)


def test_the_keyboard_plays_seeks_and_zooms(page):
    page.locator(".roll").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".roll").get_attribute("aria-valuenow") == "3.0"
    page.keyboard.press("Home")
    assert page.locator(".roll").get_attribute("aria-valuetext") == "0:00"
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Play").wait_for()


def test_zoom_and_a_click_agree(page):
    roll = page.locator(".roll")
    roll.focus()
    for _ in range(2):
        page.keyboard.press("+")  # at the cursor, which is at the beginning
    box = roll.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    seen = 7.0 / 1.6**2
    assert abs(float(roll.get_attribute("aria-valuenow")) - seen) < 0.1
    page.keyboard.press("0")
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert abs(float(roll.get_attribute("aria-valuenow")) - 7.0) < 0.1


def test_a_click_seeks_and_a_drag_marks_a_loop(page):
    box = page.locator(".roll").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + 54 + (box["width"] - 54) / 2, middle)
    assert abs(float(page.locator(".roll").get_attribute("aria-valuenow")) - 3.5) < 0.1
    page.mouse.move(box["x"] + 200, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, middle, steps=5)
    page.mouse.up()
    loop = page.get_by_role("button", name="Loop the selected part")
    assert loop.get_attribute("aria-pressed") == "true"
