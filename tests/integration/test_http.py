"""The HTTP API from outside: every form of upload, every format, every mistake of a caller."""

import asyncio
import io
import json
import threading
from xml.etree import ElementTree

import mido
import pytest

from mt3_model.export.note_sequence import NoteSequenceProto
from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.schemas.transcription_response import TranscriptionResponse
from tests.integration.listening import Held
from tests.integration.problems import URL, assert_problem
from tests.integration.serving import loader, recording, serving
from tests.waiting import until

# The answer


async def test_raw_body_gives_the_notes_as_json(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording(3.0))
    assert response.status_code == 200
    answer = TranscriptionResponse.model_validate_json(response.content)
    # Worked out in service/engine/fake_backend.py.
    found = [(n.start_time, n.end_time, n.pitch, n.is_drum) for n in answer.notes]
    assert found == [
        (0.0, 1.0, 60, False), (0.5, 0.51, 36, True), (2.04, 3.04, 61, False),
        (2.54, 2.55, 36, True),
    ]  # fmt: skip
    # 0.5 as the clean-up calibrates it: for pitched notes the same, for drums less.
    assert [n.confidence for n in answer.notes] == [0.5, 0.3543, 0.5, 0.3543]
    assert answer.model.checkpoint_sha256 == "c0ffee"
    assert (answer.duration_seconds, answer.usage.segments) == (3.0, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content_type",
    ["audio/mpeg", "video/mp4", "application/octet-stream", "application/x-www-form-urlencoded",
     "AUDIO/WAV; x=y", None],
)  # fmt: skip
async def test_raw_body_is_taken_under_every_type_that_clients_send(tmp_path, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording(), headers=headers)
    assert response.status_code == 200


async def test_multipart_gives_the_same_as_the_raw_body(tmp_path):
    async with serving(tmp_path) as client:
        raw = await client.post(URL, content=recording(), params={"start": "0.1"})
        form = await client.post(
            URL, files={"file": ("song.wav", recording())}, data={"start": "0.1"}
        )
    assert raw.json()["notes"] == form.json()["notes"]
    assert raw.json()["options"] == form.json()["options"]


async def test_midi_opens_with_named_tracks(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording(), params={"response_format": "midi"})
    assert response.headers["content-type"] == "audio/midi"
    assert response.headers["content-disposition"] == 'attachment; filename="transcription.mid"'
    file = mido.MidiFile(file=io.BytesIO(response.content))
    assert [t.name for t in file.tracks[1:]] == ["Acoustic Grand Piano", "Drums"]


@pytest.mark.parametrize(
    ("form", "media_type", "suffix"),
    [
        ("notesequence", "application/x-protobuf", ".pb"),
        ("notesequence_json", "application/json", ".notesequence.json"),
        ("piano_roll", "image/png", ".png"),
        ("piano_roll_svg", "image/svg+xml", ".svg"),
        ("musicxml", "application/vnd.recordare.musicxml+xml", ".musicxml"),
        ("score_pdf", "application/pdf", ".pdf"),
        ("jsonl", "application/x-ndjson", ".jsonl"),
    ],
)
async def test_each_form_has_its_type_and_name(tmp_path, form, media_type, suffix):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording(), params={"response_format": form})
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["content-disposition"].endswith(f'transcription{suffix}"')
    match form:
        case "notesequence":
            assert len(NoteSequenceProto.FromString(response.content).notes) == 2
        case "notesequence_json":
            assert len(response.json()["notes"]) == 2
        case "piano_roll":
            assert response.content.startswith(b"\x89PNG")
        case "musicxml":
            assert len(ElementTree.fromstring(response.content).findall(".//note/pitch")) == 1
        case "score_pdf":
            assert response.content.startswith(b"%PDF")
        case "piano_roll_svg":
            assert response.content.startswith(b"<svg ")
        case "jsonl":
            kinds = [json.loads(line)["object"] for line in response.text.splitlines()]
            assert kinds == ["transcription", "note", "note"]


async def test_a_score_has_the_title_of_the_file(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, files={"file": ("My <Song>.wav", recording())},
            params={"response_format": "musicxml"},
        )  # fmt: skip
    assert ElementTree.fromstring(response.content).findtext("work/work-title") == "My _Song_"


async def test_accept_chooses_the_form_where_response_format_is_absent(tmp_path):
    async with serving(tmp_path) as client:
        midi = await client.post(URL, content=recording(), headers={"Accept": "audio/midi"})
    assert midi.content.startswith(b"MThd")


async def test_start_and_end_cut_the_recording_and_keep_its_clock(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, content=recording(3.0), params={"start": "1", "end": "2.5"}
        )
    answer = response.json()
    assert (answer["duration_seconds"], answer["recording_seconds"]) == (1.5, 3.0)
    assert answer["usage"]["audio_seconds"] == 1.5
    assert [n["start_time"] for n in answer["notes"]] == [1.0, 1.5]
    assert (answer["options"]["start"], answer["options"]["end"]) == (1.0, 2.5)


async def test_timings_and_request_id_are_in_the_headers(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, content=recording(), headers={"X-Request-ID": "job-17/a:b"}
        )
    assert response.headers["x-request-id"] == "job-17/a:b"
    names = [item.split(";")[0].strip() for item in response.headers["server-timing"].split(",")]
    assert names == ["upload", "queue", "transcription", "export", "total"]


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é".encode("latin-1"), '"', ""])
async def test_a_request_id_unfit_for_a_log_is_replaced(tmp_path, given):
    async with serving(tmp_path, wait=False) as client:
        response = await client.get("/health", headers={"X-Request-ID": given})
    assert len(response.headers["x-request-id"]) == 32


async def test_recordings_sent_at_once_do_not_mix(tmp_path):
    async with serving(tmp_path, slots=1) as client:
        answers = await asyncio.gather(
            *(client.post(URL, content=recording(seconds)) for seconds in (0.5, 3.0, 5.0))
        )
    assert [len(a.json()["notes"]) for a in answers] == [2, 4, 6]


# Mistakes


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"respose_format": "midi"}, "respose_format"),
        ({"response_format": "mp3"}, "response_format"),
        ({"decoding": "beam"}, "decoding"),
        ({"start": "abc"}, "start"),
        ({"start": "-1"}, "start"),
        ({"start": "nan"}, "start"),
        ({"end": "0"}, "end"),
        ({"start": "2", "end": "1"}, "end"),
        ({"start": ["1", "2"]}, "start"),
        ({"file": "x"}, "file"),
        ({"": "x"}, ""),
    ],
)
async def test_a_bad_option_is_named_whichever_way_it_comes(tmp_path, params, param):
    async with serving(tmp_path) as client:
        in_query = await client.post(URL, content=b"never read", params=params)
        in_form = await client.post(URL, files={"file": b"never decoded"}, data=params)
    assert_problem(in_query, 422, "invalid_option", param=param)
    if param == "file":  # in a form, a second part named file
        assert_problem(in_form, 400, "malformed_form")
    else:
        assert_problem(in_form, 422, "invalid_option", param=param)
    assert list(tmp_path.iterdir()) == []


async def test_an_option_in_query_and_form_is_given_twice(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, files={"file": recording()}, data={"start": "0"}, params={"start": "0"}
        )
    assert_problem(response, 422, "invalid_option", param="start")


async def test_options_may_be_divided_between_query_and_form(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, files={"file": recording()}, data={"start": "0.1"}, params={"end": "0.4"}
        )
    assert response.json()["duration_seconds"] == pytest.approx(0.3)


async def test_another_model_is_not_found_and_the_served_named(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=b"x", params={"model": "ismir2021"})
    assert "'mt3'" in assert_problem(response, 404, "model_not_found", param="model").detail


@pytest.mark.parametrize(
    "content", [b"\x00" * 1_000, b"hello", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"ID3", b"<html>"]
)
async def test_what_is_no_audio_is_a_400(tmp_path, content):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=content)
    assert_problem(response, 400, "audio_undecodable")


async def test_an_empty_body_is_a_400(tmp_path):
    async with serving(tmp_path) as client:
        raw = await client.post(URL)
        form = await client.post(URL, files={"file": b""})
    assert_problem(raw, 400, "empty_body")
    assert_problem(form, 400, "empty_body")


async def test_audio_without_a_sample_is_a_400(tmp_path):
    async with serving(tmp_path) as client:
        empty = await client.post(URL, content=recording(0.0))
        beyond = await client.post(URL, content=recording(0.5), params={"start": "9"})
    assert_problem(empty, 400, "audio_empty")
    assert_problem(beyond, 400, "audio_empty")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary="},
        {"Content-Type": "multipart/form-data; boundary=B"},
        {"Content-Type": f"multipart/form-data; boundary={'B' * 300}"},
    ],
)
async def test_a_broken_form_is_a_400(tmp_path, headers):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording(), headers=headers)
    assert_problem(response, 400, "malformed_form")


async def test_a_form_without_a_file_or_with_two_is_a_400(tmp_path):
    async with serving(tmp_path) as client:
        none = await client.post(URL, files={"audio": recording()})
        two = await client.post(URL, files=[("file", b"a"), ("file", b"b")])
    assert_problem(none, 400, "malformed_form")
    assert_problem(two, 400, "malformed_form")


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "image/png", "nonsense"])
async def test_a_type_that_cannot_be_audio_is_a_415(tmp_path, content_type):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=b"x", headers={"Content-Type": content_type})
    assert "audio/*" in assert_problem(response, 415, "unsupported_media_type").detail


async def test_an_accept_of_nothing_offered_is_a_406(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=b"x", headers={"Accept": "text/html"})
    assert "audio/midi" in assert_problem(response, 406, "not_acceptable").detail


async def test_a_body_above_the_limit_is_a_413_that_names_it(tmp_path):
    async def unannounced():
        for _ in range(5):
            yield b"x" * 1_000

    async with serving(tmp_path, max_upload_bytes=4_000) as client:
        announced = await client.post(URL, content=b"x" * 4_001)
        streamed = await client.post(URL, content=unannounced())
        form = await client.post(URL, files={"file": b"x" * 4_001})
        at_the_limit = await client.post(URL, content=b"x" * 4_000)
        absurd = await client.post(URL, content=b"x", headers={"Content-Length": "9" * 5_000})
    for response in (announced, streamed, form, absurd):
        assert "4,000 bytes" in assert_problem(response, 413, "upload_too_large").detail
    assert_problem(at_the_limit, 400, "audio_undecodable")
    assert list(tmp_path.iterdir()) == []


async def test_audio_above_the_limit_is_a_413_that_names_it(tmp_path):
    async with serving(tmp_path, max_audio_seconds=2.0) as client:
        whole = await client.post(URL, content=recording(3.0))
        part = await client.post(URL, content=recording(3.0), params={"start": "1.5"})
    assert "2 s" in assert_problem(whole, 413, "audio_too_long").detail
    assert part.status_code == 200


async def test_unknown_paths_and_methods_are_problems_too(tmp_path):
    async with serving(tmp_path, wait=False) as client:
        assert_problem(await client.get("/v2/none"), 404, "not_found")
        wrong = await client.get(URL)
    assert_problem(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "OPTIONS, POST"


async def test_allow_names_every_method_of_the_path(tmp_path):
    async with serving(tmp_path) as client:
        jobs = await client.patch("/v1/jobs")
        one = await client.patch("/v1/jobs/job_1")
    assert jobs.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert one.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_a_fault_of_ours_tells_nothing_but_its_id(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.api.routes.transcriptions.export", fail)
    async with serving(tmp_path) as client:
        response = await client.post(URL, content=recording())
        assert (await client.get("/health")).status_code == 200
    assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text


async def test_a_failure_of_the_device_can_be_tried_again(tmp_path):
    class Failing(FakeBackend):
        is_broken = True

        def step(self):
            if self.is_broken:
                raise RuntimeError("secret detail")
            return super().step()

    backend = Failing(MT3)
    async with serving(tmp_path, load=loader(backend)) as client:
        response = await client.post(URL, content=recording())
        backend.is_broken = False
        again = await client.post(URL, content=recording())
    assert_problem(response, 503, "engine_failure")
    assert int(response.headers["retry-after"]) > 0
    assert "secret" not in response.text
    assert again.status_code == 200


# States


async def test_health_answers_and_ready_says_loading_before_the_model_is_there(tmp_path):
    may_load = threading.Event()

    def slow(settings):
        assert may_load.wait(120)
        return loader()(settings)

    async with serving(tmp_path, load=slow, wait=False) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        waiting = await client.get("/ready")
        refused = await client.post(URL, content=recording())
        models = (await client.get("/v1/models")).json()["data"]
        may_load.set()
        await until(lambda: client.service.state.value == "ready")
        assert (await client.get("/ready")).json() == {
            "state": "ready", "precision": "float32", "precision_setting": "auto",
        }  # fmt: skip
        ready_models = (await client.get("/v1/models")).json()["data"]
    for response in (waiting, refused):
        assert assert_problem(response, 503, "not_ready").state == "loading"
        assert int(response.headers["retry-after"]) > 0
    assert (models[0]["state"], models[0]["checkpoint_sha256"]) == ("loading", None)
    assert (ready_models[0]["state"], ready_models[0]["checkpoint_sha256"]) == ("ready", "c0ffee")
    assert (models[0]["precision"], models[0]["precision_setting"]) == (None, None)
    assert ready_models[0]["precision"] == "float32"
    assert ready_models[0]["precision_setting"] == "auto"


async def test_ready_says_warming_while_the_device_compiles(tmp_path):
    may_warm = threading.Event()

    class Slow(FakeBackend):
        def warm_up(self):
            assert may_warm.wait(120)

    async with serving(tmp_path, load=loader(Slow(MT3)), wait=False) as client:
        await until(lambda: client.service.state.value != "loading")
        response = await client.get("/ready")
        may_warm.set()
    assert assert_problem(response, 503, "not_ready").state == "warming"


async def test_ready_says_failed_without_telling_why(tmp_path):
    def failing(settings):
        raise RuntimeError("/secret/path")

    async with serving(tmp_path, load=failing, wait=False) as client:
        await until(lambda: client.service.state.value != "loading")
        response = await client.get("/ready")
    assert assert_problem(response, 503, "not_ready").state == "failed"
    assert "secret" not in response.text


async def test_draining_refuses_new_requests(tmp_path):
    async with serving(tmp_path) as client:
        client.service.begin_draining()
        response = await client.post(URL, content=recording())
        assert assert_problem(response, 503, "not_ready").state == "draining"
        assert assert_problem(await client.get("/ready"), 503, "not_ready").state == "draining"


async def test_too_much_waiting_is_a_503_with_a_time(tmp_path):
    held = Held()
    async with serving(tmp_path, load=loader(held), max_waiting_audio_seconds=4.0) as client:
        running = asyncio.create_task(client.post(URL, content=recording(3.0)))
        await until(lambda: client.service.transcriber.admissions.waiting_audio_seconds > 0)
        refused = await client.post(URL, content=recording(3.0))
        held.go.set()
        assert (await running).status_code == 200
    assert_problem(refused, 503, "overloaded")
    assert int(refused.headers["retry-after"]) == 2  # 3 + 3 - 4 seconds at speed one


async def test_more_recordings_than_may_be_open_is_a_503_before_the_upload(tmp_path):
    held = Held()
    async with serving(tmp_path, load=loader(held), max_open_recordings=1) as client:
        running = asyncio.create_task(client.post(URL, content=recording()))
        await until(lambda: client.service.transcriber.admissions.waiting_audio_seconds > 0)
        refused = await client.post(URL, content=recording())
        held.go.set()
        assert (await running).status_code == 200
    assert_problem(refused, 503, "overloaded")


async def test_instruments_are_those_of_general_midi(tmp_path):
    async with serving(tmp_path, wait=False) as client:
        data = (await client.get("/v1/instruments")).json()["data"]
    assert len(data) == 128
    assert data[33] == {"program": 33, "name": "Electric Bass (finger)", "family": "Bass"}


@pytest.mark.parametrize(
    ("query", "programs", "has_drums"),
    [
        ("instruments=violin", {40}, False),
        ("instruments=33&instruments=drums", {33}, True),
        ("instruments=drums", set(), True),
        ("instruments=Pipe,drums&postprocess=none", {73}, True),
    ],
)
async def test_notes_have_no_instruments_but_the_named(tmp_path, query, programs, has_drums):
    async with serving(tmp_path) as client:
        answer = await client.post(f"{URL}?{query}", content=recording())
    assert answer.status_code == 200
    document = answer.json()
    pitched = {note["program"] for note in document["notes"] if not note["is_drum"]}
    assert pitched == programs
    assert any(note["is_drum"] for note in document["notes"]) is has_drums
    sent = [
        name for pair in query.split("&") if "instruments" in pair for name in pair[12:].split(",")
    ]
    assert document["options"]["instruments"] == sent


async def test_high_quality_makes_a_second_pass(tmp_path):
    async with serving(tmp_path) as client:
        answers = [
            (await client.post(f"{URL}?quality={quality}", content=recording(5.0))).json()
            for quality in ("standard", "high")
        ]
        refused = await client.post(f"{URL}?quality=best", content=recording())
    # 5 s have 3 segments of 2.048 s, and 3 after half a segment of zeros.
    assert [each["usage"]["segments"] for each in answers] == [3, 6]
    assert [each["options"]["quality"] for each in answers] == ["standard", "high"]
    assert_problem(refused, 422, "invalid_option", param="quality")


async def test_an_unknown_instrument_is_refused_with_the_nearest_names(tmp_path):
    async with serving(tmp_path) as client:
        refused = await client.post(f"{URL}?instruments=piano,violn", content=recording())
    assert_problem(refused, 422, "invalid_option", param="instruments")
    assert "General MIDI program numbers (0 to 127)" in refused.json()["detail"]
    assert "did you mean Violin" in refused.json()["detail"]
