"""Jobs opened later and in other browsers: with and without the recording; links; a proxy."""

import mido

from tests.integration.serving import recording
from tests.web.conftest import transcribe, wait_done
from tests.web.proxy import prefixed
from tests.web.scenes import saved, transcription

MISSING = "Only the transcription can be played"


def wait_recording(page):
    page.get_by_label("Recording or transcription").and_(page.locator(":enabled")).wait_for()


def test_a_finished_item_has_its_recording(visit, server, song):
    page = visit(server.address)
    transcribe(page, song, song)
    page.get_by_role("heading", name="My song.wav and 1 more").wait_for()
    page.get_by_role("link", name="Open My song.wav").first.click()
    wait_done(page)
    wait_recording(page)


def test_a_shared_link_opens_elsewhere_with_its_recording(visit, server, song):
    page = visit(server.address)
    transcribe(page, song)
    wait_done(page)
    page.get_by_role("button", name="Keep on the server").click()
    other = visit(page.get_by_role("link", name="item=0").get_attribute("href"))
    wait_done(other)
    wait_recording(other)
    assert other.locator(".work .name").inner_text() == "My song.wav"
    assert other.locator(".track").count() == 2
    assert other.get_by_text(MISSING).is_hidden()


def test_a_saved_transcription_opens_and_takes_its_recording_again(visit, server, song, tmp_path):
    page = visit(server.address)
    transcribe(page, saved(transcription(server, song), tmp_path / "My song.json"))
    wait_done(page)
    page.get_by_text(MISSING).wait_for()
    assert page.locator(".work .name").inner_text() == "My song"
    assert page.locator(".track").count() == 2
    wrong = tmp_path / "wrong.wav"
    wrong.write_bytes(recording(20.0))
    page.get_by_label("Choose the recording").set_input_files(wrong)
    page.get_by_text("Choose the same recording").wait_for()
    page.get_by_label("Choose the recording").set_input_files(song)
    wait_recording(page)
    page.reload()  # the recording is kept with it
    wait_done(page)
    wait_recording(page)


def test_json_of_something_else_is_refused_with_a_sentence(visit, server, tmp_path):
    page = visit(server.address)
    transcribe(page, saved({"id": 1}, tmp_path / "other.json"))
    page.get_by_text("is not a transcription saved by this page").wait_for()


def test_a_link_to_a_missing_job_says_so(visit, server):
    page = visit(f"{server.address}/#job=nothing&item=0")
    page.get_by_role("alert").get_by_text("no longer has this job").wait_for()


def test_all_works_below_the_path_prefix_of_a_proxy(visit, server, song):
    with prefixed(server.address, "/mt3/") as address:
        page = visit(address)
        transcribe(page, song)
        wait_done(page)
        page.get_by_role("button", name="Play", exact=True).click()  # with the soundfont
        page.get_by_role("button", name="Pause", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("button", name="MIDI for your DAW").click()
        assert mido.MidiFile(download.value.path()).length > 0
        page.get_by_role("button", name="Score", exact=True).click()
        page.locator(".score svg").first.wait_for()
        page.get_by_role("button", name="Back").click()
        transcribe(page, song, song)
        page.get_by_role("button", name="Download all").wait_for()
        page.get_by_role("link", name="API").click()
        page.get_by_text("/v1/transcriptions", exact=True).first.wait_for()
        page.close()
