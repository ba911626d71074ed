"""The pages of a score: one PDF, the same for the same notes, drawn in sections when long."""

import dataclasses
import re

import pytest

from mt3_model.export import score_pages
from mt3_model.export.engraving import EngravingError, engrave, needs_machine_fonts
from mt3_model.export.score_pages import to_score_pdf
from mt3_model.notes.musical_time import MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.score.arranging import arrange, split_score
from mt3_model.score.musicxml import write_musicxml
from tests.unit.export.transcriptions import TRANSCRIPTION


def with_bars(count):
    """One whole note per bar of two seconds."""
    notes = tuple(
        Note(pitch=60 + bar % 12, start_time=2.0 * bar, end_time=2.0 * bar + 2, velocity=100)
        for bar in range(count)
    )
    sequence = NoteSequence(notes=notes, total_time=2.0 * count)
    return dataclasses.replace(TRANSCRIPTION, notes=sequence)


def test_equal_notes_give_equal_pages():
    first = to_score_pdf(TRANSCRIPTION)
    assert first.startswith(b"%PDF")
    assert to_score_pdf(TRANSCRIPTION) == first


def test_a_title_is_text_and_not_markup():
    assert to_score_pdf(with_bars(1), title='#panic("x") *a* "b"').startswith(b"%PDF")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("Étude № 1 – “Größe” ♯ ♩", False), ("Ночь, Ελλάδα, Čeština, cafe\u0301", False),
        ("\ueca5", False), ("夜に駆ける", True), ("밤", True), ("شارع", True), ("ไทย", True),
        ("Piano 🎹", True),
    ],
)  # fmt: skip
def test_the_fonts_of_the_machine_are_searched_for_other_scripts_only(text, needed):
    assert needs_machine_fonts(text) is needed


def test_a_title_in_a_script_without_a_font_is_drawn():
    assert to_score_pdf(with_bars(1), title="夜に駆ける").startswith(b"%PDF")


def test_a_long_score_is_drawn_in_sections():
    pdf = to_score_pdf(with_bars(score_pages.BARS_PER_SECTION + 1))
    pages = int(re.search(rb"/Count (\d+)", pdf)[1])
    assert pages > 1


def test_sections_have_all_bars_with_their_numbers():
    score = arrange(with_bars(25).notes, None)
    sections = split_score(score, 10)
    assert [len(section.bars) for section in sections] == [10, 10, 5]
    assert [section.first_number for section in sections] == [1, 11, 21]
    assert [bar.index for bar in sections[1].bars] == list(range(10))


def test_a_file_that_is_no_score_is_named_as_the_fault(tmp_path):
    (tmp_path / "0.musicxml").write_text("<nothing/>")
    (tmp_path / "title.txt").write_text("T")
    with pytest.raises(EngravingError):
        engrave(tmp_path)


def test_the_dotted_beat_of_a_compound_meter_is_drawn(tmp_path):
    time = MusicalTime(
        beat_times=(0.0, 1.0, 2.0),
        time_signature=TimeSignature(numerator=6, denominator=8),
        first_downbeat=0,
        key=None,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )
    content = write_musicxml(arrange(with_bars(1).notes, time), title="", software="")
    (tmp_path / "0.musicxml").write_bytes(content)
    (tmp_path / "title.txt").write_text("T")
    engrave(tmp_path)
    page = (tmp_path / "0.svg").read_text()
    assert "♩." in page
    assert "Leipzig" not in page  # a font that the PDF does not have
    assert re.findall(r'font-family="([^"]*)"', page) == ["Libertinus Serif"]
