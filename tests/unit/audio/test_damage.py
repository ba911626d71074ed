"""The outcomes of damaged, cut and odd recordings; the table is in the folder's README."""

import pathlib

import numpy as np
import pytest

from mt3_model.audio.recording import AudioWarning
from mt3_model.errors import AudioFormatError
from tests.unit.audio.encoded_recordings import KINDS, sine, write_film, write_kind, write_sound
from tests.unit.audio.in_process import read_recording

pytestmark = pytest.mark.slow

TARGET = 16_000
# Kinds whose first half can be read without the second. A transport stream may begin and end
# anywhere, so nothing of it can be called missing.
STREAMABLE = [kind for kind in KINDS if kind not in {"m4a", "m4a_alac", "mp4", "mp2_ts"}]


def read(path: pathlib.Path, **time_range) -> tuple[np.ndarray, tuple[AudioWarning, ...]]:
    found = read_recording(path, **time_range)
    return found.samples, found.warnings


def codes(warnings: tuple[AudioWarning, ...]) -> list[str]:
    return [warning.code for warning in warnings]


def overwrite_middle(path: pathlib.Path, count: int) -> None:
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    content[at : at + count] = np.random.default_rng(0).bytes(count)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_recording_gives_no_warning(tmp_path, kind):
    _, warnings = read(write_kind(tmp_path / "song", kind, seconds=2.0))
    assert warnings == ()


@pytest.mark.parametrize("kind", STREAMABLE)
def test_the_rest_of_a_cut_recording_is_read_with_a_warning(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=4.0, noise=0.1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    samples, warnings = read(path)
    assert codes(warnings) == ["truncated_audio"]
    # A page of Ogg holds about a second, and the cut one is lost.
    assert 0.9 * TARGET < len(samples) < 2.6 * TARGET
    assert warnings[0].start == pytest.approx(len(samples) / TARGET, abs=1e-3)


@pytest.mark.parametrize("kind", STREAMABLE)
def test_a_range_before_the_cut_gives_no_warning(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=4.0, noise=0.1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    samples, warnings = read(path, end=0.5)
    assert len(samples) == TARGET // 2
    assert warnings == ()


@pytest.mark.parametrize("kind", ["m4a", "m4a_alac", "mp4"])
def test_a_cut_mp4_whose_index_was_at_the_end_is_refused(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=2.0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioFormatError, match="The file is cut off"):
        read(path)


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "aac", "m4a"])
def test_reading_goes_on_after_damage_and_later_sound_keeps_its_time(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=4.0, noise=0.1)
    whole, _ = read(path)
    overwrite_middle(path, 300)
    samples, warnings = read(path)
    assert codes(warnings) == ["corrupt_audio"]
    assert 0.9 < warnings[0].start < 2.6
    if kind == "aac":  # a bare stream has no times: lost frames are left out
        assert len(whole) - len(samples) < 0.2 * TARGET
    else:
        # Gaps are filled to the frame; Opus may shift by its pre-skip (6.5 ms) on another decoder.
        assert len(samples) == pytest.approx(len(whole), abs=0.007 * TARGET)


def test_an_mp3_with_a_hole_is_read_on(tmp_path):
    path = write_kind(tmp_path / "song", "mp3", seconds=4.0, noise=0.1)
    overwrite_middle(path, 3_000)  # 7 frames of 418 bytes
    samples, warnings = read(path)
    assert codes(warnings) == ["corrupt_audio"]
    assert warnings[0].start == pytest.approx(2.0, abs=0.1)
    assert len(samples) == pytest.approx(4 * TARGET, abs=0.3 * TARGET)


@pytest.mark.parametrize("kind", ["webm", "mkv"])
def test_a_film_container_with_a_hole_is_read_up_to_it(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=4.0, noise=0.1)
    overwrite_middle(path, 300)
    samples, warnings = read(path)
    assert len(samples) > TARGET
    assert set(codes(warnings)) <= {"truncated_audio", "corrupt_audio"}
    assert warnings


@pytest.mark.parametrize(("muxer", "codec"), [("mp4", "mpeg4"), ("webm", "libvpx")])
def test_a_film_without_sound_is_refused(tmp_path, muxer, codec):
    with pytest.raises(AudioFormatError, match="no sound in it"):
        read(write_film(tmp_path / "film", muxer=muxer, codec=codec))


MARKS = [b"RIFF\x00\x00\x00\x00WAVE", b"fLaC", b"OggS", b"\x1a\x45\xdf\xa3", b"caff", b".snd",
         b"\x00\x00\x00\x1cftypM4A "]  # fmt: skip


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_followed_by_noise_is_refused(tmp_path, mark):
    path = tmp_path / "song"
    path.write_bytes(mark + np.random.default_rng(0).bytes(5_000))
    with pytest.raises(AudioFormatError):
        read(path)


def test_a_playlist_cannot_make_us_read_another_file(tmp_path):
    write_sound(tmp_path / "other.wav", sine(1.0))
    playlist = tmp_path / "song.wav"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/other.wav\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/other.wav'\n",
        f"file '{tmp_path}/other.wav'\n",
        f"[playlist]\nFile1={tmp_path}/other.wav\n",
    ):
        playlist.write_text(text)
        with pytest.raises(AudioFormatError, match=r"playlist|text"):
            read(playlist)


def test_values_that_are_not_finite_become_silence_and_are_counted(tmp_path):
    samples = sine(2.0, TARGET)
    damaged = samples.copy()
    damaged[8_000, 0], damaged[8_001, 1], damaged[9_000] = np.nan, np.inf, 1e30
    path = write_sound(tmp_path / "song", damaged, rate=TARGET, subtype="FLOAT")
    samples[8_000, 0], samples[8_001, 1], samples[9_000] = 0, 0, 0
    found, warnings = read(path)
    np.testing.assert_array_equal(found, np.mean(samples, axis=1))
    assert codes(warnings) == ["non_finite_samples"]
    assert "4 samples" in warnings[0].message
    assert warnings[0].start == 0.5
    # The same in a range: positions stay on the recording's own clock.
    _, warnings = read(path, start=0.25)
    assert warnings[0].start == 0.5


def test_values_over_one_are_unchanged(tmp_path):
    samples = sine(1.0, TARGET, channels=1) * 3
    path = write_sound(tmp_path / "song", samples, rate=TARGET, subtype="FLOAT")
    found, warnings = read(path)
    np.testing.assert_array_equal(found, samples[:, 0])
    assert warnings == ()


def test_integers_stored_as_float_are_read_with_a_warning(tmp_path):
    samples = sine(1.0, TARGET, channels=1) * 32_768
    path = write_sound(tmp_path / "song", samples, rate=TARGET, subtype="FLOAT")
    found, warnings = read(path)
    np.testing.assert_array_equal(found, samples[:, 0])
    assert codes(warnings) == ["over_range_audio"]


def test_digital_silence_is_read_with_a_warning(tmp_path):
    path = write_sound(tmp_path / "song", np.zeros((10 * TARGET, 1)), rate=TARGET)
    found, warnings = read(path)
    assert len(found) == 10 * TARGET
    assert codes(warnings) == ["silent_audio"]
    assert (warnings[0].start, warnings[0].end) == (0.0, 10.0)


@pytest.mark.parametrize(
    ("peak", "expected"),
    [(0.02, []), (0.009, ["quiet_audio"]), (0.0002, ["quiet_audio"]), (0.00005, ["silent_audio"])],
)
def test_a_quiet_recording_is_read_with_one_warning(tmp_path, peak, expected):
    samples = sine(1.0, TARGET, channels=1) * 2 * peak  # the sine has half of full scale
    path = write_sound(tmp_path / "song", samples, rate=TARGET, subtype="FLOAT")
    _, warnings = read(path)
    assert codes(warnings) == expected


@pytest.mark.parametrize(("size", "expected"), [(0xFFFFFFFF, []), (0, ["truncated_audio"])])
def test_a_wav_whose_size_was_never_filled_in_is_read_to_its_end(tmp_path, size, expected):
    path = write_sound(tmp_path / "song", sine(2.0))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    samples, warnings = read(path)
    assert len(samples) == 2 * TARGET
    assert codes(warnings) == expected
