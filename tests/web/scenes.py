"""Transcriptions to open in the page, made from one of the server's own."""

import json
import urllib.request


def transcription(server, recording):
    """Return the JSON of a recording's transcription."""
    return _post(f"{server.address}/v1/transcriptions", recording.read_bytes(), "audio/wav")


def bars(server, recording, *, seconds, beat=0.5):
    """Return a transcription with a note on each beat, the loudest and longest on each fourth."""
    document = transcription(server, recording)
    document["notes"] = [
        note(
            index * beat,
            index * beat + (0.45 if index % 4 == 0 else 0.2),
            pitch=48 if index % 4 == 0 else 60 + index % 4,
            velocity=120 if index % 4 == 0 else 60,
        )
        for index in range(int(seconds / beat))
    ]
    return _post(
        f"{server.address}/v1/exports?response_format=json&tempo=120&time_signature=4/4",
        json.dumps(document | {"warnings": []}).encode(),
        "application/json",
    )


def note(start, end, *, pitch=60, velocity=100, program=0, name="Acoustic Grand Piano"):
    return {
        "start_time": start, "end_time": end, "pitch": pitch, "velocity": velocity,
        "program": program, "is_drum": False, "track": 0, "instrument_name": name,
        "drum_name": None, "confidence": None,
    }  # fmt: skip


def saved(document, path):
    path.write_text(json.dumps(document))
    return path


def _post(address, body, media_type):
    request = urllib.request.Request(address, body, {"Content-Type": media_type})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
