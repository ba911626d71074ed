"""From a recording to its files: streaming, cancel, reload, errors, keys, jobs, the microphone."""

import io
import json
import zipfile

import mido
import pytest

from mt3_model.notes.postprocess_option import POSTPROCESS_STEPS
from service.auth.api_keys import generate_key
from tests.integration.serving import recording
from tests.waiting import wait_until
from tests.web.conftest import started, transcribe, wait_done


def test_a_recording_becomes_tracks_and_files(visit, server, song):
    page = visit(server.address)
    transcribe(page, song)
    wait_done(page)
    assert page.locator(".work .name").inner_text() == "My song.wav"
    names = [each.input_value() for each in page.locator(".track-name").all()]
    assert names == ["Acoustic Grand Piano", "Drums"]
    with page.expect_download() as download:
        page.get_by_role("button", name="MIDI for your DAW").click()
    assert download.value.suggested_filename == "My song.mid"
    midi = mido.MidiFile(download.value.path())
    assert count_notes(midi) == 8


def test_what_is_left_out_is_in_no_file(visit, server, song):
    page = visit(server.address)
    transcribe(page, song)
    wait_done(page)
    page.get_by_role("button", name="Leave out Drums").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="All as zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "My song.json" in archive.namelist()
        midi = mido.MidiFile(file=io.BytesIO(archive.read("My song.mid")))
    assert count_notes(midi) == 4


def test_the_transcription_is_saved_as_sound(visit, server, song):
    page = visit(server.address)
    transcribe(page, song)
    wait_done(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Audio the transcription").click()
    content = download.value.path().read_bytes()
    assert content[:4] == b"RIFF"
    assert any(content[4_000:40_000])


def test_notes_appear_while_the_rest_is_transcribed(visit, slow_server, long_song):
    page = visit(slow_server.address)
    transcribe(page, long_song)
    page.locator(".track").first.wait_for()
    assert page.locator(".work").get_attribute("aria-busy") == "true"
    page.get_by_text("Transcribing").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Drop a recording").wait_for()


def test_a_reload_in_the_middle_loses_nothing(visit, slow_server, long_song):
    page = visit(slow_server.address)
    transcribe(page, long_song)
    page.locator(".track").first.wait_for()
    page.reload()
    page.locator(".track").first.wait_for()
    assert page.locator(".work .name").inner_text() == "Long song.wav"
    wait_done(page)
    assert page.locator(".tracks h2 .quiet").inner_text() == "60 notes"
    page.reload()  # now from this browser's own store
    wait_done(page)
    assert page.locator(".tracks h2 .quiet").inner_text() == "60 notes"
    page.get_by_role("button", name="Back").click()
    page.get_by_role("link", name="Long song.wav").wait_for()


def test_errors_are_sentences(visit, server, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no sound at all " * 100)
    page = visit(server.address)
    transcribe(page, text)
    page.get_by_role("alert").get_by_text("not a recording that can be read").wait_for()
    assert page.get_by_role("heading", name="Drop a recording").is_visible()


def test_an_error_in_the_stream_ends_the_transcription(visit, server, song):
    page = visit(server.address)
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("From", exact=True).fill("1:30")
    transcribe(page, song)
    page.get_by_role("alert").get_by_text("“From” is 90 s").wait_for()
    page.get_by_role("heading", name="Drop a recording").wait_for()
    assert page.locator(".work").get_attribute("aria-busy") == "false"


def test_an_error_in_the_stream_is_seen_after_a_reload_too(visit, server, tmp_path):
    empty = tmp_path / "Empty.wav"
    empty.write_bytes(recording(0.0))
    page = visit(server.address)
    transcribe(page, empty)
    page.get_by_role("alert").get_by_text("no samples").wait_for()
    page.reload()
    page.get_by_role("alert").get_by_text("no samples").wait_for()
    assert page.locator(".work").get_attribute("aria-busy") == "false"


def test_a_server_with_keys_asks_for_one_and_keeps_it(visit, song, tmp_path):
    key = generate_key()
    with started(tmp_path, MT3_API_KEYS=f"alice:{key}") as server:
        page = visit(server.address)
        page.get_by_label("API key", exact=True).fill("wrong")
        page.get_by_role("button", name="Use this key").click()
        page.get_by_label("API key", exact=True).fill(key)
        page.get_by_role("button", name="Use this key").click()
        transcribe(page, song)
        wait_done(page)
        page.reload()
        wait_done(page)
        page.get_by_role("button", name="Forget the API key").wait_for()


def test_several_recordings_become_a_job(visit, server, song, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    page = visit(server.address)
    transcribe(page, song, broken)
    page.get_by_role("button", name="Retry failed items").wait_for()
    rows = page.locator("tbody tr").all_inner_texts()
    assert "done" in rows[0]
    assert "not a recording that can be read" in rows[1]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "My song.mid" in archive.namelist()
    address = page.url
    page.get_by_role("link", name="Open My song.wav").click()
    wait_done(page)
    page.locator(".track").nth(1).wait_for()
    assert page.locator(".track").count() == 2
    page.goto(address.partition("#")[0])
    page.get_by_role("link", name="My song.wav and 1 more").first.click()
    page.get_by_role("button", name="Delete the job").click()
    page.get_by_role("heading", name="Drop a recording").wait_for()


def test_the_microphone_records(visit, server):
    page = visit(server.address, permissions=["microphone"])
    page.get_by_role("button", name="Record", exact=True).click()
    stop = page.get_by_role("button", name="Stop and transcribe")
    wait_until(lambda: page.wait_for_timeout(20) or "0:03" in stop.inner_text())
    stop.click()
    wait_done(page)
    assert page.locator(".work .name").inner_text().startswith("Recording ")
    page.locator(".track").nth(1).wait_for()
    assert page.locator(".track").count() == 2


@pytest.mark.parametrize("option", ["none", "steps"])
def test_options_are_sent(visit, server, song, option):
    page = visit(server.address)
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Clean-up").select_option(option)
    page.get_by_label("From", exact=True).fill("0:02")
    page.get_by_label("Quality").select_option("high")
    transcribe(page, song)
    wait_done(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON everything").click()
    options = json.loads(download.value.path().read_text())["options"]
    assert options["start"] == 2.0
    assert options["quality"] == "high"
    steps = ",".join(POSTPROCESS_STEPS)  # all are ticked at first
    assert options["postprocess"] == {"none": "none", "steps": steps}[option]


def count_notes(midi):
    return sum(message.type == "note_on" and message.velocity > 0 for message in midi)
