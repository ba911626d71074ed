"""Every kind of recording over HTTP: each has one documented outcome, never a 500.

`tests/unit/audio` tests the reading itself; these tests check the responses, with the real decoding
process and the fake backend.
"""

import itertools
import json

import numpy as np
import pytest

from tests.integration.serving import serving
from tests.unit.audio.encoded_recordings import (
    KINDS,
    RATE,
    sine,
    write_film,
    write_kind,
    write_sound,
)
from tests.unit.audio.timed_recordings import write_timed

URL = "/v1/transcriptions"


async def send(tmp_path, content):
    async with serving(tmp_path) as client:
        return await client.post(URL, content=content)


def sound(tmp_path, samples, rate=RATE, **kind):
    """Return a wav of these samples, as bytes."""
    return write_sound(tmp_path / "sound.wav", samples, rate=rate, **kind).read_bytes()


def warnings_of(response):
    assert response.status_code == 200, response.text
    return [warning["code"] for warning in response.json()["warnings"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_format_is_transcribed(tmp_path, kind):
    path = write_kind(tmp_path / "recording", kind)
    response = await send(tmp_path, path.read_bytes())
    assert warnings_of(response) == []
    assert response.json()["duration_seconds"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "m4a_faststart", "webm"])
async def test_a_truncated_file_gives_what_is_there_with_a_warning(tmp_path, kind):
    content = write_kind(tmp_path / "recording", kind, 4.0, noise=0.1).read_bytes()
    response = await send(tmp_path, content[: len(content) * 2 // 3])
    assert "truncated_audio" in warnings_of(response)
    assert 0.5 < response.json()["duration_seconds"] < 4.0


async def test_a_truncated_file_without_its_index_is_refused_and_told_why(tmp_path):
    content = write_kind(tmp_path / "recording", "m4a", 4.0).read_bytes()
    response = await send(tmp_path, content[: len(content) * 2 // 3])
    assert (response.status_code, response.json()["code"]) == (400, "audio_undecodable")
    assert "The file is cut off: send all of it" in response.json()["detail"]


async def test_a_film_without_sound_is_refused(tmp_path):
    response = await send(tmp_path, write_film(tmp_path / "film.mp4").read_bytes())
    assert (response.status_code, response.json()["code"]) == (400, "audio_undecodable")


async def test_nan_samples_are_silence_with_a_warning(tmp_path):
    samples = sine(1.0, channels=1)
    samples[100:200] = np.nan
    response = await send(tmp_path, sound(tmp_path, samples, subtype="FLOAT"))
    assert warnings_of(response) == ["non_finite_samples"]


async def test_a_file_without_samples_is_refused(tmp_path):
    response = await send(tmp_path, sound(tmp_path, np.zeros((0, 1), np.float32)))
    assert (response.status_code, response.json()["code"]) == (400, "audio_empty")


async def test_four_channels_are_mixed(tmp_path):
    response = await send(tmp_path, sound(tmp_path, sine(1.0, channels=4)))
    assert warnings_of(response) == []


async def test_twenty_milliseconds_are_one_segment(tmp_path):
    response = await send(tmp_path, sound(tmp_path, sine(0.02)))
    assert warnings_of(response) == []
    assert response.json()["usage"]["segments"] == 1


async def test_ten_seconds_of_silence_are_told(tmp_path):
    response = await send(tmp_path, sound(tmp_path, np.zeros((10 * RATE, 1), np.float32)))
    assert "silent_audio" in warnings_of(response)


async def test_a_silent_track_is_told_and_another_can_be_chosen(tmp_path):
    path = write_timed(tmp_path / "two", muxer="matroska", codec="flac", tracks=(0.0, 1.0))
    content = path.read_bytes()
    async with serving(tmp_path) as client:
        silent = await client.post(URL, content=content)
        assert warnings_of(silent) == ["silent_audio"]
        assert "other audio tracks: 2" in silent.json()["warnings"][0]["message"]
        assert silent.json()["options"]["audio_track"] is None
        chosen = await client.post(URL, data={"audio_track": "2"}, files={"file": content})
        assert warnings_of(chosen) == []
        assert chosen.json()["options"]["audio_track"] == 2
        absent = await client.post(URL, params={"audio_track": "3"}, content=content)
    problem = absent.json()
    assert (absent.status_code, problem["code"]) == (422, "audio_track_not_found")
    assert problem["param"] == "audio_track"
    assert "2 audio tracks" in problem["detail"]


async def test_a_wrong_name_and_type_do_not_matter(tmp_path):
    content = write_kind(tmp_path / "recording", "flac", 0.5).read_bytes()
    async with serving(tmp_path) as client:
        response = await client.post(URL, files={"file": ("song.mp3", content, "audio/mpeg")})
    assert warnings_of(response) == []


async def test_an_hour_is_streamed_through(tmp_path):
    tone = (np.sin(np.arange(8_000) / 10) * 3_000).astype(np.int16)
    path = write_sound(
        tmp_path / "hour.flac", np.tile(tone, 3_600)[:, None], rate=8_000, kind="FLAC"
    )
    response = await send(tmp_path, path.read_bytes())
    assert set(warnings_of(response)) <= {"meter_uncertain"}, "none about the recording"
    assert response.json()["usage"]["segments"] == 1_758  # ceil(3,600 / 2.048)
    starts = [note["start_time"] for note in response.json()["notes"]]
    assert all(a <= b for a, b in itertools.pairwise(starts))


async def test_the_warnings_of_a_file_without_room_for_them_are_in_a_header(tmp_path):
    silence, tone = (sound(tmp_path, sine(1.0) * level) for level in (0, 1))
    async with serving(tmp_path) as client:
        options = {"response_format": "midi", "quantize": "1/16"}
        silent = await client.post(URL, params=options, content=silence)
        heard = await client.post(URL, params={"response_format": "midi"}, content=tone)
        document = await client.post(URL, params={"quantize": "1/16"}, content=silence)
    assert silent.headers["Transcription-Warnings"] == "silent_audio, tempo_unknown"
    details = json.loads(silent.headers["Transcription-Warning-Details"])
    assert details == document.json()["warnings"]
    assert document.headers["Transcription-Warnings"] == silent.headers["Transcription-Warnings"]
    assert not [name for name in heard.headers if name.startswith("transcription-")]


async def test_nothing_is_left_on_disk(tmp_path):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    async with serving(uploads) as client:
        for content in (b"", b"no audio", sound(tmp_path, sine(0.5))):
            await client.post(URL, content=content)
        assert list(uploads.iterdir()) == []
