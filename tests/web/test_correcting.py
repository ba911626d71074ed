"""Corrections by a person: tempo, meter, bar lines, names of instruments; and the score."""

import json

import mido
import pytest

from tests.integration.serving import recording
from tests.waiting import wait_until
from tests.web.conftest import level, position, transcribe, wait_done, wait_level
from tests.web.scenes import bars, note, saved, transcription

SECONDS = 16.0


@pytest.fixture
def page(visit, server, tmp_path):
    """A page with a transcription in 4/4 at 120 beats per minute, and its recording."""
    song = tmp_path / "Bars.wav"
    song.write_bytes(recording(SECONDS))
    document = saved(bars(server, song, seconds=SECONDS), tmp_path / "Bars.json")
    opened = visit(server.address)
    transcribe(opened, document)
    wait_done(opened)
    return opened


def tempo(page):
    return page.get_by_label("Beats per minute").input_value()


def wait_tempo(page, expected):
    wait_until(lambda: page.wait_for_timeout(20) or tempo(page) == expected)


def downloaded(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.path()


def downbeats(page):
    document = json.loads(downloaded(page, "JSON everything").read_text())
    return document["tempo"]["downbeats"]


def test_the_tempo_is_doubled_halved_and_forgotten(page):
    assert tempo(page) == "120"
    before = downbeats(page)
    page.get_by_role("button", name="Half the tempo").click()
    wait_tempo(page, "60")
    assert len(downbeats(page)) < 0.75 * len(before)
    page.get_by_role("button", name="Start over").click()
    wait_tempo(page, "120")
    page.get_by_role("button", name="Double the tempo").click()
    wait_tempo(page, "240")
    page.reload()  # corrections are kept with the transcription
    wait_done(page)
    wait_tempo(page, "240")


def test_what_is_no_tempo_is_refused_with_a_sentence(page):
    field = page.get_by_label("Beats per minute")
    field.fill("fast")
    field.press("Enter")
    page.get_by_text("A tempo is a number of beats per minute").wait_for()
    assert tempo(page) == "120"


def test_few_notes_without_a_tempo_get_one(visit, server, song, tmp_path):
    document = transcription(server, song) | {
        "notes": [note(at, at + 0.4) for at in (0.0, 1.0, 2.0)],
        "tempo": None, "time_signature": None, "key": None,
    }  # fmt: skip
    page = visit(server.address)
    transcribe(page, saved(document, tmp_path / "Few.json"))
    wait_done(page)
    assert tempo(page) == ""
    page.get_by_text("Too few notes to find a tempo").wait_for()
    field = page.get_by_label("Beats per minute")
    field.fill("60")
    field.press("Enter")
    wait_tempo(page, "60")


def test_a_meter_moves_the_bars(page):
    page.get_by_label("Meter").select_option("3/4")
    page.get_by_role("button", name="Start over").wait_for()
    three = downbeats(page)
    assert three[1] - three[0] == pytest.approx(1.5, abs=0.05)


def test_a_bar_begins_where_the_person_clicks(page):
    page.get_by_role("button", name="By clicking").click()
    box = page.locator(".roll").bounding_box()
    # Near the onset at 2.5 s, which is the second beat of a bar.
    x = box["x"] + 54 + (box["width"] - 54) * 2.51 / SECONDS
    page.mouse.click(x, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Start over").wait_for()
    assert page.get_by_role("button", name="By clicking").get_attribute("aria-pressed") == "false"
    assert page.locator(".roll").get_attribute("aria-valuenow") == "0.0", "the cursor has moved"
    assert any(beat == pytest.approx(2.5, abs=0.03) for beat in downbeats(page))
    page.keyboard.press("ArrowRight")  # to 3 s: the third beat
    page.keyboard.press("b")
    wait_until(lambda: any(beat == pytest.approx(3.0, abs=0.03) for beat in downbeats(page)))


def test_escape_gives_up_a_bar_line(page):
    picking = page.get_by_role("button", name="By clicking")
    picking.click()
    page.locator(".roll").focus()
    page.keyboard.press("Escape")
    assert picking.get_attribute("aria-pressed") == "false"
    page.locator(".roll").click()
    assert page.locator(".roll").get_attribute("aria-valuenow") != "0.0"
    assert page.get_by_role("button", name="Start over").is_hidden()


def test_a_tapped_tempo_is_taken(page):
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    tap = page.get_by_role("button", name="Tap")
    for _ in range(5):
        tap.click()
        page.clock.fast_forward(600)  # 100 beats per minute
    assert tempo(page) == "100.0"
    page.clock.resume()
    page.get_by_role("button", name="Start over").wait_for()


def test_a_new_name_is_in_the_files_and_survives_a_reload(page):
    name = page.get_by_label("Name of Acoustic Grand Piano")
    name.fill("Left hand")
    name.press("Enter")
    page.reload()
    wait_done(page)
    wait_until(
        lambda: (
            page.wait_for_timeout(20) or page.locator(".track-name").input_value() == "Left hand"
        )
    )
    midi = mido.MidiFile(downloaded(page, "MIDI for your DAW"), charset="utf-8")
    assert "Left hand" in [track.name for track in midi.tracks]


def test_the_score_is_drawn_part_by_part_and_follows_corrections(page):
    page.get_by_role("button", name="Score", exact=True).click()
    page.locator(".score svg").first.wait_for()
    part = page.get_by_label("Part", exact=True)
    names = part.locator("option").all_inner_texts()
    assert names == ["All parts", "Piano"]
    part.select_option("Piano")
    before = page.locator(".score svg").first.inner_html()
    page.get_by_label("Meter").select_option("3/4")
    wait_until(
        lambda: (
            page.wait_for_timeout(50)
            or page.locator(".score svg").first.inner_html(timeout=60_000) != before
        ),
    )


def test_the_score_as_pdf(page):
    assert downloaded(page, "Score, PDF").read_bytes().startswith(b"%PDF-")


def test_the_metronome_is_heard_on_the_beats(page):
    page.get_by_role("button", name="Mute Acoustic Grand Piano").click()
    page.locator(".roll").focus()
    page.keyboard.press("l")
    page.keyboard.press("m")
    page.get_by_role("button", name="Play", exact=True).click()
    wait_level(page, lambda value: value > 0.003)
    page.get_by_role("button", name="Metronome").click()
    wait_level(page, lambda value: value < 0.0005)
    begin = position(page)
    loudest = 0.0
    while abs(position(page) - begin) < 1.5:  # three beats
        loudest = max(loudest, level(page))
    assert loudest < 0.0005


def test_changes_are_kept_if_the_page_is_left_in_the_same_moment(page):
    for count in range(10):  # a browser may drop such a change, and does so in one of six cases
        with page.expect_navigation():
            page.evaluate(
                """name => {
                    const input = document.querySelector(".track-name");
                    input.value = name;
                    input.dispatchEvent(new Event("change"));
                    location.reload();
                }""",
                f"Piano {count}",
            )
        wait_done(page)
        assert page.locator(".track-name").input_value() == f"Piano {count}"
