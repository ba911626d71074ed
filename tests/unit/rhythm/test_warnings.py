"""Warnings of an uncertain tempo or bars, and of options that could not be used."""

import dataclasses
from typing import Any

import pytest

from mt3_model.notes.note import NoteSequence
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.rhythm.estimation import add_musical_time
from tests.unit.export.transcriptions import TRANSCRIPTION
from tests.unit.rhythm.music import beat_times, chords, place, rock, sequence

SONG = place(beat_times(61, tempo=100), [*rock(15), *chords(15, 4)])
FEW = place(beat_times(4, tempo=100), chords(1, 2))


def warnings(notes: NoteSequence, **options: Any) -> dict[str, str]:
    transcription = dataclasses.replace(
        TRANSCRIPTION, notes=notes, options=TranscriptionOptions(**options), warnings=()
    )
    return {warning.code: warning.message for warning in add_musical_time(transcription).warnings}


@pytest.mark.parametrize(
    "options",
    [{}, {"first_downbeat": 0.5, "time_signature": "4/4", "tempo": "half", "quantize": "1/16"}],
)
def test_options_that_are_used_have_no_warning(options: dict[str, Any]) -> None:
    assert "tempo_unknown" not in warnings(SONG, **options)
    assert "first_downbeat_outside" not in warnings(SONG, **options)


def test_options_that_need_a_tempo_are_named_where_there_is_none() -> None:
    message = warnings(FEW, quantize="1/16", time_signature="3/4")["tempo_unknown"]
    assert "time_signature= and quantize= could not be used" in message
    assert "name beats per minute with tempo=" in message


@pytest.mark.parametrize("options", [{}, {"quantize": "1/16", "tempo": "100"}])
def test_nothing_is_missed_without_such_options_or_with_a_tempo(options: dict[str, Any]) -> None:
    assert "tempo_unknown" not in warnings(FEW, **options)


def test_a_recording_without_notes_has_nothing_to_quantize() -> None:
    assert warnings(sequence([]), quantize="1/16", first_downbeat=3.0) == {}


def test_a_downbeat_far_from_the_notes_is_reported() -> None:
    message = warnings(SONG, first_downbeat=99.0)["first_downbeat_outside"]
    assert "set to 99 s, but the notes are from 0.50 to 36.5" in message
    assert "first_downbeat=" in message


def test_a_tempo_that_the_notes_do_not_have_is_reported() -> None:
    found = warnings(SONG)
    assert "tempo_differs" not in found
    assert "tempo_differs" not in warnings(SONG, tempo="100")
    message = warnings(SONG, tempo="108")["tempo_differs"]
    assert "set to 108 beats per minute, but the notes fit 100.0 better" in message
