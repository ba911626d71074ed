"""The recordings of the benchmark."""

import numpy as np
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioFormatError
from service.benchmark.material import SAMPLE_RATE, synthesize, write_material

pytestmark = pytest.mark.slow

LIMITS = ReadingLimits()


def write_tone(path, seconds, hertz, *, sample_rate=SAMPLE_RATE):
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * times), sample_rate)
    return path


def loudest_hertz(samples):
    return np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)[np.abs(np.fft.rfft(samples)).argmax()]


def test_the_piece_is_the_same_every_time_and_within_its_range():
    piece = synthesize()
    assert piece.dtype == np.float32
    assert len(piece) == 8 * SAMPLE_RATE  # 16 beats of half a second
    assert np.abs(piece).max() == pytest.approx(0.8)
    assert np.array_equal(piece, synthesize())


def test_the_piece_has_a_note_at_every_beat():
    beats = synthesize().reshape(16, -1)
    attack, rest = np.abs(beats[:, :2_000]).max(axis=1), np.abs(beats[:, -2_000:]).max(axis=1)
    assert (attack > 2 * rest).all()


def test_the_pieces_first_bar_sounds_of_its_chord():
    # A minor: its bass is A2, 110 Hz, played on each of the bar's four beats.
    bar = synthesize()[: 2 * SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(bar))
    bins_per_hertz = 2
    around = spectrum[60 * bins_per_hertz : 200 * bins_per_hertz]
    assert abs(60 + around.argmax() / bins_per_hertz - 110) < 2


def test_without_a_recording_the_piece_is_written(tmp_path):
    (file,) = write_material([], 3.0, tmp_path, LIMITS)
    samples, rate = soundfile.read(file, dtype="float32")
    assert rate == SAMPLE_RATE
    assert len(samples) == 3 * SAMPLE_RATE
    assert np.allclose(samples, synthesize()[: 3 * SAMPLE_RATE], atol=1 / 32_000)  # 16 bits


def test_a_short_recording_is_repeated_and_a_long_one_cut(tmp_path):
    short = write_tone(tmp_path / "short.wav", 0.5, 441)
    long = write_tone(tmp_path / "long.wav", 4.0, 882)
    files = write_material([short, long], 1.25, tmp_path, LIMITS)
    for file, hertz in zip(files, (441, 882), strict=True):
        samples, _ = soundfile.read(file)
        assert len(samples) == round(1.25 * SAMPLE_RATE)
        assert abs(loudest_hertz(samples[-SAMPLE_RATE // 2 :]) - hertz) < 3


def test_another_rate_is_resampled(tmp_path):
    slow = write_tone(tmp_path / "slow.wav", 1.0, 441, sample_rate=16_000)
    (file,) = write_material([slow], 1.0, tmp_path, LIMITS)
    assert abs(loudest_hertz(soundfile.read(file)[0]) - 441) < 2


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "a.mp3").write_text("no music in here")
    with pytest.raises(AudioFormatError, match=r"a\.mp3: "):
        write_material([tmp_path / "a.mp3"], 1.0, tmp_path, LIMITS)
