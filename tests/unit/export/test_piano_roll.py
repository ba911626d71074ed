"""Checks the size and the colours of the picture."""

import concurrent.futures
import io
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from mt3_model.export.piano_roll import to_piano_roll_png
from mt3_model.notes.note import Note, NoteSequence


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


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")


@pytest.mark.parametrize(("seconds", "width"), [(2, 800), (60, 1_200), (600, 6_000)])
def test_picture_grows_with_the_music_up_to_a_width(seconds, width):
    notes = sequence(note(60, 0, 1), note(64, seconds - 1, seconds, program=40))
    assert pixels(to_piano_roll_png(notes)).shape[1] == width


def test_picture_shows_each_track_in_a_colour():
    notes = sequence(note(60, 0, 1), note(72, 1, 2, program=40), note(36, 0, 0.01, is_drum=True))
    image = pixels(to_piano_roll_png(notes, title="Song"))[..., :3]
    for colour in ("#0072B2", "#D55E00", "#404040"):
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert np.isclose(image, rgb, atol=0.01).all(axis=-1).sum() > 20, colour


def test_picture_of_no_notes_is_valid():
    assert pixels(to_piano_roll_png(sequence())).ndim == 3


def test_picture_holds_every_program_and_percussion_key():
    notes = [note(p, p / 10, p / 10 + 0.1, program=p) for p in range(128)]
    drums = [note(p, p / 10, p / 10 + 0.01, is_drum=True) for p in range(128)]
    assert pixels(to_piano_roll_png(sequence(*notes, *drums))).ndim == 3


def test_pictures_drawn_at_once_are_those_drawn_alone():
    sequences = [sequence(note(60 + i, 0, 1 + i)) for i in range(4)]
    alone = [to_piano_roll_png(s) for s in sequences]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(to_piano_roll_png, sequences)) == alone


def test_pyplot_is_not_imported():
    program = (
        "import sys\n"
        "from mt3_model.export.piano_roll import to_piano_roll_png\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from mt3_model.notes.note import NoteSequence\n"
        "to_piano_roll_png(NoteSequence(notes=(), total_time=0.0))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
