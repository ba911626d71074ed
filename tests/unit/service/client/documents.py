"""A server's answer for one recording, as a document and as a stream's events."""

import json

NOTES = [
    {"start_time": 0.0, "end_time": 1.0, "pitch": 60, "velocity": 127, "program": 0,
     "is_drum": False, "track": 1, "instrument_name": "Acoustic Grand Piano", "drum_name": None,
     "confidence": 0.9977},
    {"start_time": 0.5, "end_time": 0.6, "pitch": 38, "velocity": 127, "program": None,
     "is_drum": True, "track": 0, "instrument_name": "Drums", "drum_name": "Acoustic Snare",
     "confidence": None},
    {"start_time": 2.5, "end_time": 4.0, "pitch": 61, "velocity": 127, "program": 33,
     "is_drum": False, "track": 2, "instrument_name": "Electric Bass (finger)",
     "drum_name": None, "confidence": 1},
]  # fmt: skip
WARNING = {"code": "truncated_audio", "message": "cut – short", "start": 3.5, "end": None}
MODEL = {
    "name": "mt3", "checkpoint_sha256": "c0ffee", "code_version": "0.1.0", "precision": "float32"
}  # fmt: skip
OPTIONS = {"model": "mt3", "decoding": "greedy", "precision": "float32", "start": 0.0, "end": None,
           "audio_track": None, "postprocess": "default", "instruments": [],
           "quality": "standard", "tempo": None, "time_signature": None, "first_downbeat": None,
           "quantize": "none"}  # fmt: skip
TRANSCRIPTION = {
    "id": "tr_1", "object": "transcription", "created": 1795221964, "model": MODEL,
    "options": OPTIONS, "duration_seconds": 4.0, "recording_seconds": 4.0,
    "tracks": [
        {"index": 0, "program": None, "name": "Drums", "is_drum": True, "note_count": 1},
        {"index": 1, "program": 0, "name": "Acoustic Grand Piano", "is_drum": False,
         "note_count": 1},
        {"index": 2, "program": 33, "name": "Electric Bass (finger)", "is_drum": False,
         "note_count": 1},
    ],
    "warnings": [WARNING],
    "usage": {
        "audio_seconds": 4.0, "segments": 2, "tokens": 30, "queue_seconds": 0, "wall_seconds": 0.5
    },
    "diagnostics": {"invalid_events": 1, "dropped_events": 0},
    "notes": NOTES,
}  # fmt: skip

EVENTS = [
    ("transcription.started", {
        "id": "tr_1", "model": MODEL, "options": OPTIONS, "duration_seconds": 4.0,
        "recording_seconds": 4.0, "created": 1795221964,
    }),
    ("progress", {"done_seconds": 0.0, "total_seconds": 4.0, "fraction": 0.0}),
    ("segment", {"index": 0, "start": 0.0, "end": 2.0, "note_count": 1}),
    # The drum ends before the note that began before it.
    ("note", NOTES[1]),
    ("progress", {"done_seconds": 2.0, "total_seconds": 4.0, "fraction": 0.5}),
    ("warning", WARNING),
    ("segment", {"index": 1, "start": 2.0, "end": 4.0, "note_count": 2}),
    ("note", NOTES[0]),
    ("note", NOTES[2]),
    ("progress", {"done_seconds": 4.0, "total_seconds": None, "fraction": None}),
    ("completed", {"transcription": {k: v for k, v in TRANSCRIPTION.items() if k != "notes"}}),
]  # fmt: skip
LAST = len(EVENTS)


def event_text(number, kind, document):
    """Return one event as the server writes it."""
    data = json.dumps({"type": kind, **document}, ensure_ascii=False)
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n".encode()
