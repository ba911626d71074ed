"""`POST /v1/exports`: a transcription in another format, without transcribing again."""

import asyncio
import json
import threading

import pytest

from service.auth.api_keys import generate_key
from service.auth.caller import ANONYMOUS, Caller, CallerLimits
from tests.integration.serving import recording, serving, silence


async def transcription(client):
    return (await client.post("/v1/transcriptions", content=recording(5.0))).json()


@pytest.mark.parametrize("form", ["midi", "notesequence", "piano_roll", "jsonl"])
async def test_the_file_is_the_one_that_transcribing_gives(tmp_path, form):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        exported = await client.post(f"/v1/exports?response_format={form}", json=document)
        direct = await client.post(
            f"/v1/transcriptions?response_format={form}", content=recording(5.0)
        )
    assert exported.status_code == 200
    assert exported.headers["Content-Type"] == direct.headers["Content-Type"]
    assert exported.headers["Content-Disposition"].startswith("attachment")
    if form != "jsonl":  # which holds the id and the time of its transcription
        assert exported.content == direct.content


async def test_a_title_is_in_the_score_the_midi_file_and_the_file_name(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        for form, suffix in (("musicxml", "musicxml"), ("midi", "mid")):
            answer = await client.post(
                "/v1/exports", params={"response_format": form, "title": "No. 1"}, json=document
            )
            assert b"No. 1" in answer.content
            assert f'filename="No. 1.{suffix}"' in answer.headers["Content-Disposition"]


async def test_a_blank_title_names_no_file(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        answer = await client.post("/v1/exports?response_format=midi&title=%20", json=document)
    assert 'filename="transcription.mid"' in answer.headers["Content-Disposition"]


async def test_notes_left_out_are_left_out(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        document["notes"] = [note for note in document["notes"] if note["is_drum"]]
        answer = await client.post("/v1/exports", json=document)
    exported = answer.json()
    assert exported["id"] == document["id"]
    assert [track["name"] for track in exported["tracks"]] == ["Drums"]
    assert len(exported["notes"]) == len(document["notes"])


async def test_tempo_and_bars_are_found_again_under_what_the_caller_knows(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        answer = await client.post(
            "/v1/exports?tempo=90&time_signature=3/4&first_downbeat=0.5", json=document
        )
        refused = await client.post("/v1/exports?tempo=fast", json=document)
    exported = answer.json()
    assert round(exported["tempo"]["beats_per_minute"]) == 90
    assert exported["time_signature"] == {"numerator": 3, "denominator": 4, "confidence": 1.0}
    assert min(abs(beat - 0.5) for beat in exported["tempo"]["downbeats"]) < 0.01
    assert (refused.status_code, refused.json()["param"]) == (422, "tempo")


async def test_the_warnings_are_in_the_headers_as_when_transcribing(tmp_path):
    options = {"response_format": "midi"}
    async with serving(tmp_path) as client:
        direct = await client.post("/v1/transcriptions", params=options, content=silence())
        document = (await client.post("/v1/transcriptions", content=silence())).json()
        exported = await client.post("/v1/exports", params=options, json=document)
        document["warnings"] = [document["warnings"][0] | {"code": "a\r\nSet-Cookie: b=c"}]
        strange = await client.post("/v1/exports", params=options, json=document)
    assert exported.headers["Transcription-Warnings"] == "silent_audio"
    for name in ("Transcription-Warnings", "Transcription-Warning-Details"):
        assert exported.headers[name] == direct.headers[name]
        assert name not in strange.headers
    assert "Set-Cookie" not in strange.headers


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"song", 422, "invalid_option"),
        (b"{}", 422, "invalid_option"),
        (b"[" * 10_000, 422, "invalid_option"),
    ],
)
async def test_another_body_is_refused(tmp_path, body, status, code):
    async with serving(tmp_path) as client:
        answer = await client.post("/v1/exports", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_note_that_cannot_be_is_named(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        document["notes"][1]["pitch"] = 128
        answer = await client.post("/v1/exports", content=json.dumps(document))
    assert answer.status_code == 422
    assert answer.json()["param"] == "notes.1.pitch"


async def test_an_unknown_format_is_refused_and_a_key_is_needed(tmp_path):
    async with serving(tmp_path) as client:
        unknown = await client.post("/v1/exports?response_format=mp3", json={})
    assert (unknown.status_code, unknown.json()["param"]) == (422, "response_format")
    async with serving(tmp_path, api_keys=f"alice:{generate_key()}") as client:
        assert (await client.post("/v1/exports", json={})).status_code == 401


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tmpo=60", "tmpo"),
        ("tempo=60&tempo=90", "tempo"),
        ("response_format=midi&response_format=json", "response_format"),
    ],
)
async def test_a_misspelled_or_repeated_option_is_refused(tmp_path, query, name):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        answer = await client.post(f"/v1/exports?{query}", json=document)
    assert (answer.status_code, answer.json()["param"]) == (422, name)


async def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        content = json.dumps(document).encode("utf-8-sig")
        answer = await client.post("/v1/exports?response_format=midi", content=content)
    assert answer.status_code == 200


async def test_warnings_of_tempo_and_bars_are_those_of_the_new_estimate(tmp_path):
    async with serving(tmp_path) as client:
        document = await transcription(client)
        other, doubt = (
            {"code": code, "message": "m", "start": None, "end": None}
            for code in ("clipped_audio", "meter_uncertain")
        )
        answer = await client.post(
            "/v1/exports?tempo=90&time_signature=3/4&first_downbeat=0.5",
            json=document | {"warnings": [other, doubt]},
        )
    codes = [warning["code"] for warning in answer.json()["warnings"]]
    assert "clipped_audio" in codes
    assert "meter_uncertain" not in codes


async def test_an_export_counts_among_the_requests_that_the_key_may_have(tmp_path, monkeypatch):
    limited = Caller(
        name="limited", scopes=ANONYMOUS.scopes, limits=CallerLimits(max_concurrent_requests=1)
    )
    monkeypatch.setattr("service.auth.key_store.ANONYMOUS", limited)
    async with serving(tmp_path) as client:
        document = await transcription(client)
        receiving, may_end = asyncio.Event(), asyncio.Event()

        async def slow_body():
            yield json.dumps(document).encode()
            receiving.set()
            await may_end.wait()

        first = asyncio.create_task(client.post("/v1/exports", content=slow_body()))
        await receiving.wait()
        refused = await client.post("/v1/exports", json=document)
        may_end.set()
        assert (await first).status_code == 200
        assert (await client.post("/v1/exports", json=document)).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert int(refused.headers["Retry-After"]) > 0


async def test_an_export_does_not_share_the_threads_of_other_blocking_work(tmp_path):
    may_end = threading.Event()
    async with serving(tmp_path) as client:
        document = await transcription(client)
        # More than asyncio's executor has threads, which are 32 at most.
        others = [asyncio.create_task(asyncio.to_thread(may_end.wait, 60)) for _ in range(40)]
        answer = await client.post("/v1/exports", json=document)
        assert not any(other.done() for other in others)
        may_end.set()
        await asyncio.gather(*others)
    assert answer.status_code == 200
