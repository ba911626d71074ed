"""The samples, the range and the limits of any recording."""

import pathlib

import librosa
import numpy as np
import pytest
import soundfile

from mt3_model.audio import isolation
from mt3_model.audio.recording import ReadingLimits, RecordingInfo
from mt3_model.errors import AudioEmptyError, AudioFormatError, AudioLimitError, OptionError
from tests.unit.audio.encoded_recordings import (
    FFMPEG_KINDS,
    KINDS,
    RATE,
    SOUNDFILE_KINDS,
    encode,
    id3_tag,
    sine,
    write_kind,
    write_sound,
)
from tests.unit.audio.in_process import open_reader, read_recording
from tests.unit.audio.ogg_files import SERIAL, join_pages, split_pages

TARGET = 16_000


def read_all(path: pathlib.Path, **options) -> np.ndarray:
    return read_recording(path, **options).samples


def load_as_librosa(path: pathlib.Path) -> np.ndarray:
    """Return librosa.load(path, sr=16_000, mono=True) without its deprecated imports."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = librosa.to_mono(samples.T)
    return librosa.resample(mono, orig_sr=rate, target_sr=TARGET, res_type="soxr_hq")


def describe(path: pathlib.Path) -> RecordingInfo:
    with open_reader(path) as reader:
        return reader.info


@pytest.mark.parametrize("kind", SOUNDFILE_KINDS)
def test_samples_are_librosas(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=2.5)
    expected = load_as_librosa(path)
    # No tolerance: the same library decodes, and the same resampler is fed in blocks.
    np.testing.assert_array_equal(read_all(path), expected)


@pytest.mark.parametrize("kind", FFMPEG_KINDS)
def test_what_ffmpeg_reads_is_the_sine_that_was_written(tmp_path, kind):
    found = read_all(write_kind(tmp_path / "song", kind, seconds=2.0))
    # Encoders add padding at the ends, up to two frames of AAC or MP2 (46 ms each at 44.1 kHz).
    assert abs(len(found) - 2 * TARGET) < 0.1 * TARGET
    # The mean of channels with peaks 1/2 and 1/4 has the peak 0.375; lossy codecs keep a lone
    # sine within some percent.
    middle = found[TARGET // 2 : TARGET * 3 // 2]
    assert np.max(np.abs(middle)) == pytest.approx(0.375, rel=0.05)
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == 440  # one second: bins of 1 Hz


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_described(tmp_path, kind):
    info = describe(write_kind(tmp_path / "song", kind, seconds=1.0))
    table = SOUNDFILE_KINDS if kind in SOUNDFILE_KINDS else FFMPEG_KINDS
    assert (info.sample_rate, info.channels) == (table[kind][2], 2)
    if kind not in {"aac", "mp2_ts", "avi"}:  # no header states it
        assert info.duration_seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_gives_librosas_length(tmp_path, rate):
    path = write_sound(tmp_path / "song", sine(0.71, rate), rate=rate)
    expected = load_as_librosa(path)
    np.testing.assert_array_equal(read_all(path), expected)


def test_sixteen_bit_mono_at_the_models_rate_passes_bit_for_bit(tmp_path):
    noise = np.random.default_rng(0).standard_normal(40_001) / 5
    path = write_sound(tmp_path / "song", noise, rate=TARGET, kind="FLAC")
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read_all(path), expected)


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 16])
def test_channels_are_averaged(tmp_path, channels):
    noise = np.random.default_rng(0).standard_normal((TARGET, channels)) / 5
    path = write_sound(tmp_path / "song", noise, rate=TARGET, subtype="FLOAT")
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(read_all(path), librosa.to_mono(samples.T))


def test_twenty_milliseconds_are_a_recording(tmp_path):
    assert len(read_all(write_sound(tmp_path / "song", sine(0.02)))) == 320


def test_blocks_are_about_a_second_and_none_is_empty(tmp_path):
    path = write_sound(tmp_path / "song", sine(3.5))
    with isolation.open_recording(path, sample_rate=TARGET) as recording:
        lengths = [len(block) for block in recording.blocks()]
    assert min(lengths) > 0
    assert max(lengths) < 1.1 * TARGET  # the resampler returns a varying number of samples


@pytest.mark.parametrize("kind", ["wav", "wav_24", "flac", "ogg", "mp3", "opus"])
def test_a_range_is_cut_to_the_sample(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=3.0)
    samples, rate = soundfile.read(path, dtype="float32")
    cut = np.mean(samples[round(1.2345 * rate) : round(2.5 * rate)], axis=1)
    expected = librosa.resample(cut, orig_sr=rate, target_sr=TARGET, res_type="soxr_hq")
    np.testing.assert_array_equal(read_all(path, start=1.2345, end=2.5), expected)


def test_a_range_is_cut_to_the_sample_through_ffmpeg(tmp_path):
    ramp = np.arange(3 * TARGET, dtype=np.float32)[:, None] / (1 << 17)  # each sample is its index
    path = encode(tmp_path / "song", ramp, muxer="ipod", codec="alac", rate=TARGET, options={})
    found = read_all(path, start=1.2345, end=2.5)
    assert len(found) == 2.5 * TARGET - 1.2345 * TARGET
    # 16-bit samples: half a step of 1/32,768 is two samples; a shift by five would exceed it.
    np.testing.assert_allclose(found, ramp[19_752:40_000, 0], atol=1 / 32_768)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_beyond_the_end_names_both(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind)
    for start in (1.5, 100.0):
        with pytest.raises(AudioEmptyError, match=rf"start is {start:g} s.*ends at [01]"):
            read_all(path, start=start)


def test_an_end_beyond_the_recordings_is_its_end(tmp_path):
    path = write_sound(tmp_path / "song", sine(1.0))
    np.testing.assert_array_equal(read_all(path, end=50.0), read_all(path))


def test_a_range_without_a_sample_is_refused(tmp_path):
    path = write_sound(tmp_path / "song", sine(1.0))
    with pytest.raises(AudioEmptyError, match="no sample at 44,100 Hz"):
        read_all(path, start=0.5, end=0.500001)


@pytest.mark.parametrize(
    ("start", "end", "parameter"),
    [
        (-1.0, None, "start"),
        (float("nan"), None, "start"),
        (float("inf"), None, "start"),
        (0.0, 0.0, "end"),
        (2.0, 1.0, "end"),
        (0.0, float("nan"), "end"),
        (0.0, float("inf"), "end"),
    ],
)
def test_an_invalid_range_is_refused_before_opening(tmp_path, start, end, parameter):
    with pytest.raises(OptionError) as caught:
        read_all(write_sound(tmp_path / "song", sine(0.1)), start=start, end=end)
    assert caught.value.parameter == parameter


def test_a_header_without_samples_is_empty(tmp_path):
    for kind in ("WAV", "AIFF"):
        path = write_sound(tmp_path / "song", np.zeros((0, 1), np.float32), kind=kind)
        with pytest.raises(AudioEmptyError, match="no sample"):
            read_all(path)


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a", "aac"])
def test_more_sound_than_the_limit_is_refused(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=2.0)
    limits = ReadingLimits(max_seconds=1.5)
    with pytest.raises(AudioLimitError, match=r"limit is 1\.5 s"):
        read_all(path, limits=limits)
    # The limit applies to the range: a short one of a long recording is accepted.
    assert len(read_all(path, start=0.5, end=1.5, limits=limits)) == TARGET


def test_a_header_beyond_the_limit_is_refused_before_decoding(tmp_path):
    path = write_kind(tmp_path / "song", "flac", seconds=2.0)
    with (
        pytest.raises(AudioLimitError, match="limit is 1 s"),
        open_reader(path, limits=ReadingLimits(max_seconds=1.0)),
    ):
        raise AssertionError("it was opened")


def test_channels_and_rates_beyond_the_limits_are_refused(tmp_path):
    wide = write_sound(tmp_path / "wide", np.zeros((10, 65)))
    with pytest.raises(AudioLimitError, match="65 channels; expected 1 to 64"):
        read_all(wide)
    slow = write_sound(tmp_path / "slow", np.zeros(10), rate=999)
    with pytest.raises(AudioLimitError, match=r"999 Hz; expected 1,000 to 768,000"):
        read_all(slow)
    fast = write_sound(tmp_path / "fast", np.zeros(10), rate=800_000)
    with pytest.raises(AudioLimitError, match="800,000 Hz"):
        read_all(fast)


def test_a_tag_with_a_cover_picture_changes_nothing(tmp_path):
    plain = write_kind(tmp_path / "plain", "mp3")
    tagged = tmp_path / "tagged"
    tagged.write_bytes(id3_tag(bytes(range(256)) * 300) + plain.read_bytes())
    np.testing.assert_array_equal(read_all(tagged), read_all(plain))


def renumber_pages(content: bytes, serial: int) -> bytes:
    """Return the Ogg stream with another serial number and new checksums."""
    pages = split_pages(content)
    for page in pages:
        page[SERIAL] = serial.to_bytes(4, "little")
    return join_pages(pages)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_both_links_of_a_chained_ogg_are_read(tmp_path, kind):
    link = write_kind(tmp_path / "link", kind).read_bytes()
    path = tmp_path / "chain"
    path.write_bytes(link + renumber_pages(link, serial=77))
    expected = 2 * len(read_all(tmp_path / "link"))
    # The first link's last block is not trimmed at the seam: up to 1,024 samples at 44.1 kHz.
    assert len(read_all(path)) == pytest.approx(expected, abs=1_024 * TARGET / RATE)


def test_a_flac_that_does_not_state_its_length_is_read_whole(tmp_path):
    path = write_kind(tmp_path / "song", "flac", seconds=2.5)
    expected = read_all(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total samples, 0 for unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_all(path), expected)


def test_an_mp3_without_a_count_of_frames_is_read_whole(tmp_path):
    path = write_kind(tmp_path / "song", "mp3", seconds=4.0)
    content = path.read_bytes()
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    path.write_bytes(content[417:])  # the first frame: 1152/8 * 128,000 / 44,100, the Xing header
    # Without the header, delay and padding are unknown: up to 3 frames of 26 ms.
    assert len(read_all(path)) == pytest.approx(4 * TARGET, abs=0.08 * TARGET)


def test_folders_and_pipes_are_refused(tmp_path):
    with pytest.raises(AudioFormatError, match="No such file"):
        read_all(tmp_path / "missing")
    with pytest.raises(AudioFormatError, match="regular file"):
        read_all(tmp_path)
