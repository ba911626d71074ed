"""Checks what the piano roll shows: sizes, colours, labels, bars."""

import dataclasses
import io
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from mt3_model.export.piano_roll import draw_piano_roll
from mt3_model.export.picture import Rectangles, Text, write_png, write_svg
from mt3_model.notes.musical_time import MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence

BLUE, ORANGE, DRUM_GREY = "#0072B2", "#D55E00", "#404040"


def note(pitch, start, end, *, program=0, is_drum=False, velocity=127):
    return Note(
        pitch=pitch,
        start_time=float(start),
        end_time=float(end),
        velocity=velocity,
        program=program,
        is_drum=is_drum,
    )


def sequence(*notes):
    return NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))


def every_second(count, *, first_downbeat=0):
    return MusicalTime(
        beat_times=tuple(float(i) for i in range(count)),
        time_signature=TimeSignature(numerator=4, denominator=4),
        first_downbeat=first_downbeat,
        key=None,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )


def texts(picture):
    return [shape.text for shape in picture.shapes if isinstance(shape, Text)]


def boxes(picture, colour):
    shapes = [s for s in picture.shapes if isinstance(s, Rectangles) and s.colour == colour]
    return [box for shape in shapes for box in shape.boxes]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize(("seconds", "width"), [(5, 800), (30, 1_256), (600, 1_600)])
def test_picture_grows_with_the_music_up_to_a_width(seconds, width):
    # 30 s: 40 units per second, beside 44 units of labels and 12 of margin.
    picture = draw_piano_roll(sequence(note(60, 0, 1), note(64, seconds - 1, seconds)))
    assert picture.width == width


@pytest.mark.parametrize(("seconds", "rows"), [(60, 1), (61, 2), (600, 10), (3_600, 24)])
def test_long_music_continues_in_rows_below(seconds, rows):
    picture = draw_piano_roll(sequence(note(60, 0, 1), note(64, seconds - 1, seconds)))
    assert texts(picture).count("C4") == rows


@pytest.mark.slow
def test_a_day_with_every_pitch_and_key_is_no_larger_than_20_million_pixels():
    notes = [note(p, p * 680, p * 680 + 1) for p in range(128)]
    drums = [note(p, p, p + 0.01, is_drum=True) for p in range(128)]
    picture = draw_piano_roll(sequence(*notes, *drums), musical_time=every_second(86_400))
    assert picture.width * picture.height <= 20_000_000


def test_note_across_two_rows_is_drawn_in_both():
    picture = draw_piano_roll(sequence(note(60, 50, 70), note(60, 100, 120)))
    first, second, *_ = boxes(picture, BLUE)[1:]  # the first is the legend's
    assert first[1] < second[1]  # tops
    # 10 s each: the left row's end less the gap, and the second row's start.
    assert first[2] == pytest.approx(second[2])


def test_picture_shows_each_track_in_a_colour():
    notes = sequence(note(60, 0, 1), note(72, 1, 2, program=40), note(36, 0, 0.01, is_drum=True))
    image = pixels(write_png(draw_piano_roll(notes, title="Song")))
    for colour in (BLUE, ORANGE, DRUM_GREY):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.isclose(image, rgb, atol=2).all(axis=-1).sum() > 20, colour


def test_labels_name_instruments_drums_octaves_and_times():
    notes = sequence(note(60, 0, 90, program=40), note(36, 0, 0.01, is_drum=True))
    shown = texts(draw_piano_roll(notes, title="Song"))
    assert {"Song", "Violin", "Drums", "Bass Drum 1", "C4", "0:00", "1:30"} <= set(shown)


def test_accents_are_left_out_of_the_png_whose_font_has_none():
    accented, plain = [
        draw_piano_roll(sequence(note(60, 0, 1)), title=title) for title in ("Flöte é", "Flote e")
    ]
    assert write_png(accented) == write_png(plain)
    assert "Flöte é".encode() in write_svg(accented)


def test_times_from_an_hour_on_have_hours():
    assert "1:00:10" in texts(draw_piano_roll(sequence(note(60, 3_600, 3_620)), start=3_600.0))


def test_louder_notes_are_more_opaque():
    picture = draw_piano_roll(sequence(note(60, 0, 1, velocity=30), note(60, 1, 2, velocity=110)))
    quiet, loud = [
        s for s in picture.shapes if isinstance(s, Rectangles) and s.colour == BLUE
    ][1:]  # fmt: skip
    assert quiet.opacity < loud.opacity < 1


def test_bars_are_numbered_from_the_first_full_one():
    notes = sequence(note(60, 0, 20))
    picture = draw_piano_roll(notes, musical_time=every_second(21, first_downbeat=2))
    # Downbeats at 2, 6, 10, 14 and 18 s.
    assert [t for t in texts(picture) if t.isdigit()] == ["1", "2", "3", "4", "5"]


def test_bar_numbers_of_an_hour_are_far_enough_apart():
    notes = sequence(note(60, 0, 3_600))
    picture = draw_piano_roll(notes, musical_time=every_second(3_601))
    numbers = [s for s in picture.shapes if isinstance(s, Text) and s.text.isdigit()]
    rows = {}
    for label in numbers:
        rows.setdefault(label.baseline, []).append(label.x)
    assert len(rows) == 24
    assert min(np.diff(sorted(xs)).min() for xs in rows.values()) >= 34


def test_range_of_a_recording_is_shown_whole():
    notes = sequence(note(60, 12, 13))
    shown = texts(draw_piano_roll(notes, start=10.0, end=30.0))
    assert "0:10" in shown
    assert "0:30" in shown
    assert "0:00" not in shown


def test_picture_of_no_notes_says_so():
    picture = draw_piano_roll(sequence())
    assert "no notes" in texts(picture)
    assert pixels(write_png(draw_piano_roll(sequence()))).shape[1] == 1_600  # two pixels per unit


def test_picture_holds_every_program_and_percussion_key():
    notes = [note(p, p / 10, p / 10 + 0.1, program=p) for p in range(128)]
    drums = [note(p, p / 10, p / 10 + 0.01, is_drum=True) for p in range(128)]
    assert pixels(write_png(draw_piano_roll(sequence(*notes, *drums)))).ndim == 3


def test_svg_is_well_formed_and_has_the_png_s_size_and_texts():
    notes = sequence(note(60, 0, 1), note(36, 0, 0.01, is_drum=True))
    title = "A & <B>\x00"
    root = ET.fromstring(write_svg(draw_piano_roll(notes, title=title)))
    picture = draw_piano_roll(notes, title=title)
    assert root.get("width") == str(picture.width)
    found = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert found == ["A & <B>", *texts(picture)[1:]]


def test_equal_notes_give_equal_bytes():
    notes = sequence(note(60, 0, 1), note(64, 0, 2, program=4))
    again = dataclasses.replace(notes)
    assert write_png(draw_piano_roll(notes)) == write_png(draw_piano_roll(again))
    assert write_svg(draw_piano_roll(notes)) == write_svg(draw_piano_roll(again))


def test_formats_are_imported_without_a_drawing_library_of_a_second():
    program = (
        "import sys\nimport mt3_model.export.piano_roll\nassert 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
