"""Every export format can be written, and its content matches its media type."""

import json

import pytest

from mt3_model.export.formats import ExportFormat, export
from tests.unit.export.transcriptions import TRANSCRIPTION

SIGNATURES = {
    ExportFormat.MIDI: b"MThd",
    ExportFormat.PIANO_ROLL: b"\x89PNG",
    ExportFormat.PIANO_ROLL_SVG: b"<svg ",
    ExportFormat.NOTESEQUENCE: b"",
    ExportFormat.MUSICXML: b"<?xml ",
    ExportFormat.SCORE_PDF: b"%PDF",
}


@pytest.mark.parametrize("form", list(ExportFormat))
def test_every_form_is_written(form):
    content = export(TRANSCRIPTION, form, transcription_id="tr_1", created=1)
    if form in SIGNATURES:
        assert content.startswith(SIGNATURES[form])
    else:
        assert all(json.loads(line) for line in content.decode().splitlines())


def test_suffixes_differ():
    assert len({form.suffix for form in ExportFormat}) == len(ExportFormat)
