"""The real server with the real weights, called as with curl.

This holds the most valuable test of the project: under load from other callers, a recording gets
the same notes as alone, which are the original's.
"""

import concurrent.futures
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import httpx2
import mido
import pretty_midi
import pytest

from mt3_model.export.note_sequence import NoteSequenceProto
from tests.conformance.golden_files import read_golden

PROGRAM = pathlib.Path(sys.executable).with_name("mt3")
START_SECONDS = 240
RECORDINGS = ("mixed", "odd", "short", "exact_two_segments", "piano")

pytestmark = [pytest.mark.checkpoint, pytest.mark.shared]


@pytest.fixture(scope="module")
def server(checkpoint_folder, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("server") / "log").open("wb")
    process = subprocess.Popen(
        [
            PROGRAM,
            "serve",
            "--port",
            str(port),
            "--checkpoint",
            str(checkpoint_folder),
            "--precision",
            "float32",
        ],
        stdout=log,
        stderr=log,
        env={**os.environ, "MT3_OFFLINE": "1"},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(address):
            assert process.poll() is None, pathlib.Path(log.name).read_text()
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.2)
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=400) == 0
    finally:
        process.kill()
        process.wait()
        log.close()


def is_ready(address):
    try:
        return httpx2.get(f"{address}/ready").is_success
    except httpx2.TransportError:
        return False


def post(server, recording, **parameters):
    """Transcribe without a clean-up, so that the notes are the original's."""
    response = httpx2.post(
        f"{server}/v1/transcriptions",
        params={"postprocess": "none"} | parameters,
        content=recording,
        headers={"Content-Type": "audio/flac"},
        timeout=600,
    )
    assert response.is_success, response.text
    return response


def audio(shared_folder, name):
    return (shared_folder / "golden" / f"{name}.flac").read_bytes()


def expected_notes(shared_folder, name, decoding):
    """Return the original's notes in the document's order and form."""
    notes = read_golden(shared_folder, name).decoding(decoding)["notes"]
    rows = [
        (n["start"], n["is_drum"], n["program"], n["pitch"], n["end"], n["velocity"]) for n in notes
    ]
    return [
        (round(start, 6), drum, program, pitch, round(end, 6), velocity)
        for start, drum, program, pitch, end, velocity in sorted(rows)
    ]


def notes_of(document):
    return [
        (n["start_time"], n["is_drum"], n["program"] or 0, n["pitch"], n["end_time"], n["velocity"])
        for n in document["notes"]
    ]


def test_every_recording_gets_the_originals_notes_under_other_callers_load(server, shared_folder):
    with concurrent.futures.ThreadPoolExecutor(len(RECORDINGS)) as callers:
        answers = callers.map(
            lambda name: post(server, audio(shared_folder, name), decoding="reference").json(),
            RECORDINGS,
        )
        for name, document in zip(RECORDINGS, answers, strict=True):
            assert notes_of(document) == expected_notes(shared_folder, name, "reference"), name


def test_the_json_says_what_made_it(server, shared_folder):
    document = post(server, audio(shared_folder, "mixed")).json()
    golden = read_golden(shared_folder, "mixed").decoding("greedy")
    assert notes_of(document) == expected_notes(shared_folder, "mixed", "greedy")
    assert document["model"]["name"] == "mt3"
    assert len(document["model"]["checkpoint_sha256"]) == 64
    assert document["usage"]["segments"] == 10
    assert document["usage"]["tokens"] == sum(len(s["tokens"]) for s in golden["segments"])
    assert document["diagnostics"]["invalid_events"] == golden["invalid_events"]
    assert all(0 < note["confidence"] <= 1 for note in document["notes"])


def test_midi_opens_with_named_tracks_right_times_and_drums_on_channel_ten(server, shared_folder):
    content = post(server, audio(shared_folder, "mixed"), response_format="midi").content
    midi = pretty_midi.PrettyMIDI(io.BytesIO(content))
    ours = sorted(
        (round(note.start, 3), track.is_drum, track.program, note.pitch, round(note.end, 3))
        for track in midi.instruments
        for note in track.notes
    )
    expected = sorted(
        (round(start, 3), drum, program, pitch, round(end, 3))
        for start, drum, program, pitch, end, _ in expected_notes(shared_folder, "mixed", "greedy")
    )
    assert ours == expected
    programs = [(track.program, track.is_drum) for track in midi.instruments]
    assert len(programs) == len(set(programs)), "one track per program"
    assert all(track.name for track in midi.instruments)
    drum_channels = {
        message.channel
        for track in mido.MidiFile(file=io.BytesIO(content)).tracks
        if track.name == "Drums"
        for message in track
        if message.type == "note_on"
    }
    assert drum_channels == {9}


def test_note_sequence_comes_as_protobuf_and_as_its_json(server, shared_folder):
    binary = post(server, audio(shared_folder, "odd"), response_format="notesequence").content
    sequence = NoteSequenceProto.FromString(binary)
    golden = read_golden(shared_folder, "odd").decoding("greedy")["notes"]
    assert [(n.pitch, n.instrument) for n in sequence.notes] == [
        (n["pitch"], n["instrument"]) for n in golden
    ]
    as_json = post(server, audio(shared_folder, "odd"), response_format="notesequence_json")
    assert len(json.loads(as_json.content)["notes"]) == len(golden)


def test_the_clean_up_is_on_by_default_and_makes_fewer_tracks(server, shared_folder):
    cleaned = post(server, audio(shared_folder, "mixed"), postprocess="default").json()
    uncleaned = post(server, audio(shared_folder, "mixed")).json()
    assert cleaned["options"]["postprocess"] == "default"
    assert 0 < len(cleaned["tracks"]) < len(uncleaned["tracks"])


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_named_instruments_bind_their_own_request_and_no_other(server, shared_folder, decoding):
    recording = audio(shared_folder, "mixed")
    named = [["drums"], ["bass"], ["piano", "violin", "drums"]]
    allowed = [set(), set(range(32, 40)), {*range(8), 40}]
    with concurrent.futures.ThreadPoolExecutor(len(named) + 1) as callers:
        beside = callers.submit(post, server, recording, decoding=decoding)
        answers = list(
            callers.map(
                lambda names: post(
                    server, recording, decoding=decoding, instruments=names, start=0, end=6
                ).json(),
                named,
            )
        )
        unnamed = beside.result().json()
    assert notes_of(unnamed) == expected_notes(shared_folder, "mixed", decoding)
    for names, programs, document in zip(named, allowed, answers, strict=True):
        notes = document["notes"]
        assert notes
        assert {n["program"] for n in notes if not n["is_drum"]} <= programs
        assert "drums" in names or not any(n["is_drum"] for n in notes)


def test_a_range_keeps_the_recordings_own_clock(server, shared_folder):
    document = post(server, audio(shared_folder, "piano"), start=8.0, end=12.0).json()
    assert document["duration_seconds"] == 4.0
    assert all(8.0 <= note["start_time"] <= 12.1 for note in document["notes"])


def test_the_command_line_transcribes_a_folder(checkpoint_folder, shared_folder, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("odd", "short"):
        (folder / f"{name}.flac").write_bytes(audio(shared_folder, name))
    (folder / "notes.txt").write_text("not audio, not named as audio: left alone")
    command = [PROGRAM, "transcribe", folder, "-o", tmp_path / "out", "--format", "json"]
    done = subprocess.run(
        [
            *command,
            "--checkpoint",
            checkpoint_folder,
            "--precision",
            "float32",
            "--postprocess",
            "none",
        ],
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["odd.json", "short.json"]
    document = json.loads((tmp_path / "out" / "odd.json").read_text())
    assert notes_of(document) == expected_notes(shared_folder, "odd", "greedy")
