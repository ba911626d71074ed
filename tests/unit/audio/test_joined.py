"""Files joined end to end, and sound behind other bytes, are read whole and on time."""

import pathlib
import struct

import numpy as np
import pytest
import soundfile

from mt3_model.audio.file_views import FileSlice, FileWindow, open_file
from mt3_model.audio.recording import AudioWarning, ReadingLimits
from mt3_model.audio.structure import declared_sizes, flac_frames
from mt3_model.errors import AudioEmptyError, AudioFormatError, AudioLimitError
from tests.unit.audio.encoded_recordings import SOUNDFILE_KINDS, encode, id3_tag, write_sound
from tests.unit.audio.in_process import read_recording
from tests.unit.audio.timed_recordings import lag_seconds, tones

pytestmark = pytest.mark.slow

TARGET = 16_000
RATE = 44_100
SECONDS = 3.5
# Each kind is encoded once; the tests cut, tag and join its bytes.
_ENCODED: dict[tuple[str, int, int], bytes] = {}
_FFMPEG = {
    "aac": ("adts", "aac"),
    "m4a": ("ipod", "aac"),
    "flv": ("flv", "aac"),
    "tta": ("tta", "tta"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "aac"),
    "untagged_mp3": ("mp3", "mp3"),
}


@pytest.fixture
def encoded(tmp_path):
    """Return a function that encodes `tones` in a format."""

    def make(kind: str, rate: int = RATE, channels: int = 1) -> bytes:
        if (kind, rate, channels) not in _ENCODED:
            path = tmp_path / f"{kind}{rate}"
            samples = tones(rate, channels=channels)
            if kind in _FFMPEG:
                muxer, codec = _FFMPEG[kind]
                options = {"write_xing": "0", "id3v2_version": "0"} if codec == "mp3" else {}
                encode(path, samples, muxer=muxer, codec=codec, rate=rate, options=options)
            else:
                container, subtype, _ = SOUNDFILE_KINDS[kind]
                write_sound(path, samples, rate=rate, kind=container, subtype=subtype)
            _ENCODED[kind, rate, channels] = path.read_bytes()
        return _ENCODED[kind, rate, channels]

    return make


@pytest.fixture
def read(tmp_path):
    """Return a function that reads bytes: samples, warnings and the declared length."""

    def read_bytes(
        content: bytes, *, limits: ReadingLimits | None = None, **time_range
    ) -> tuple[np.ndarray, tuple[AudioWarning, ...], float | None]:
        path = tmp_path / "song"
        path.write_bytes(content)
        return read_file(path, limits=limits, **time_range)

    return read_bytes


def read_file(path: pathlib.Path, *, limits: ReadingLimits | None = None, **time_range):
    found = read_recording(path, limits=limits, **time_range)
    return found.samples, found.warnings, found.info.duration_seconds


def lags(samples: np.ndarray, parts: int) -> list[float]:
    """Return the seconds by which the tones of each part are late."""
    length = round(SECONDS * TARGET)
    expected = tones(TARGET, channels=1)[:, 0]
    return [
        lag_seconds(samples[part * length :][:length], expected, TARGET) for part in range(parts)
    ]


ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2_000, 32 + 40, 1, 0xA0000000) + bytes(48 + 32)
LYRICS = b"LYRICSBEGIN" + b"IND0000200" * 9 + b"LYRICS200"


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "aiff", "au", "w64", "caf", "rf64"])
def test_joined_files_are_read_one_after_the_other(encoded, read, kind):
    content = encoded(kind)
    samples, warnings, duration = read(content * 3)
    assert len(samples) == round(3 * SECONDS * TARGET)
    assert warnings == ()
    assert duration == pytest.approx(3 * SECONDS)
    # A millisecond: lossless formats are exact, the phase of LAME is a fraction of it.
    assert lags(samples, 3) == pytest.approx([0, 0, 0], abs=1e-3)


@pytest.mark.parametrize("kind", ["aac", "m4a", "webm", "mkv", "untagged_mp3", "flv", "tta"])
def test_joined_files_that_end_with_padding_are_read_whole(encoded, read, kind):
    samples, warnings, _ = read(encoded(kind, 44_100 if kind == "flv" else 48_000) * 2)
    assert warnings == ()
    # The padding of each last frame, and the delay of the second where no header states it.
    assert len(samples) == pytest.approx(2 * SECONDS * TARGET, abs=0.07 * TARGET)
    first, second = lags(samples, 2)
    assert first == pytest.approx(0, abs=2e-3)
    assert 0 <= second < 0.05


@pytest.mark.parametrize(
    "between",
    [ID3V1, id3_tag(b"cover" * 900), APE, LYRICS + ID3V1, ID3V1 + id3_tag(b"x"), bytes(5_000)],
    ids=["id3v1", "id3v2", "ape", "lyrics3", "id3v1+v2", "zeros"],
)
def test_tags_between_two_mp3_are_not_the_end(encoded, read, between):
    content = encoded("mp3")
    samples, warnings, duration = read(content + between + content + ID3V1)
    assert len(samples) == round(2 * SECONDS * TARGET)
    assert duration == pytest.approx(2 * SECONDS)
    assert lags(samples, 2) == pytest.approx([0, 0], abs=1e-3)
    # Zeros are not a tag: sound may be missing.
    assert [warning.code for warning in warnings] == ["corrupt_audio"] * (not any(between))


def test_an_id3_tag_between_two_flacs_is_skipped(encoded, read):
    content = encoded("flac", TARGET)  # so that no resampler joins the two
    samples, warnings, _ = read(id3_tag(b"a") + content + id3_tag(b"b") + content)
    expected, _, _ = read(content)
    np.testing.assert_array_equal(samples, np.concatenate([expected, expected]))
    assert warnings == ()


@pytest.mark.parametrize("behind", [ID3V1, APE, bytes(1_000)], ids=["id3v1", "ape", "zeros"])
def test_a_tag_behind_a_flac_is_not_damage(encoded, read, behind):
    content = encoded("flac", TARGET)
    samples, warnings, _ = read(content + behind)
    np.testing.assert_array_equal(samples, read(content)[0])
    assert warnings == ()


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav"])
def test_parts_of_other_rates_and_channels_are_read(encoded, read, kind):
    samples, warnings, duration = read(
        encoded(kind) + encoded(kind, 48_000) + encoded(kind, RATE, 2)
    )
    assert len(samples) == pytest.approx(3 * SECONDS * TARGET, abs=2)
    assert duration == pytest.approx(3 * SECONDS)
    assert warnings == ()
    assert lags(samples, 3) == pytest.approx([0, 0, 0], abs=1e-3)


def test_more_frames_than_the_first_tag_counts_are_another_recording(encoded, read):
    samples, warnings, _ = read(encoded("mp3") + encoded("untagged_mp3"))
    assert len(samples) == pytest.approx(2 * SECONDS * TARGET, abs=0.03 * TARGET)
    assert warnings == ()
    assert lags(samples, 2) == pytest.approx([0, 0], abs=2e-3)


def test_a_tag_that_counts_too_few_frames_is_ignored(encoded, read):
    content = bytearray(encoded("mp3"))
    at = content.index(b"Info") if b"Info" in content[:200] else content.index(b"Xing")
    content[at + 8 : at + 12] = (30).to_bytes(4, "big")
    samples, warnings, _ = read(bytes(content))
    assert len(samples) == pytest.approx(SECONDS * TARGET, abs=0.06 * TARGET)
    assert warnings == ()
    assert abs(lags(samples, 1)[0]) < 0.03


def test_a_cut_part_before_another_is_damage(encoded, read):
    content = encoded("mp3")
    samples, warnings, _ = read(content[: len(content) // 2] + content)
    assert [warning.code for warning in warnings] == ["corrupt_audio"]
    assert len(samples) == pytest.approx(1.5 * SECONDS * TARGET, abs=0.2 * TARGET)


def test_another_container_behind_the_first_is_named_as_left_out(encoded, read):
    samples, warnings, _ = read(encoded("wav") + encoded("flac"))
    assert len(samples) == round(SECONDS * TARGET)
    assert [warning.code for warning in warnings] == ["truncated_audio"]


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "webm", "ogg", "opus", "m4a", "aac"])
def test_a_range_of_the_second_recording_is_read(encoded, read, kind):
    content = encoded(kind, 48_000) * 2
    whole, _, _ = read(content)
    samples, _, _ = read(content, start=4.0, end=6.5)
    assert len(samples) == round(2.5 * TARGET)
    # At a cut, the filter of the resampler begins with silence: 10 ms differ.
    np.testing.assert_allclose(
        samples[160:-160], whole[4 * TARGET + 160 : round(6.5 * TARGET) - 160], atol=1e-3
    )


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "webm", "ogg", "m4a", "aac"])
def test_a_start_beyond_both_recordings_names_the_true_end(encoded, read, kind):
    with pytest.raises(AudioEmptyError, match=r"start is 9 s, but the recording ends at (7|6\.9)"):
        read(encoded(kind, 48_000) * 2, start=9.0)


def test_the_seconds_of_both_count_for_the_limit(encoded, read):
    limits = ReadingLimits(max_seconds=5.0)
    for kind in ("mp3", "flac", "wav", "webm", "ogg"):
        with pytest.raises(AudioLimitError, match=r"limit is 5 s"):
            read(encoded(kind, 48_000) * 2, limits=limits)


def test_a_flac_that_declares_a_day_is_read(encoded, read):
    content = bytearray(encoded("flac"))
    claimed = 86_400 * RATE
    content[21] = content[21] & 0xF0 | claimed >> 32
    content[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    samples, warnings, duration = read(bytes(content))
    assert len(samples) == round(SECONDS * TARGET)
    assert duration is None
    assert [warning.code for warning in warnings] == ["truncated_audio"]


def count_flac(content: bytes, seconds: float) -> bytes:
    """Return the flac with another total of samples in its STREAMINFO."""
    total = round(seconds * TARGET)
    return content[:21] + bytes((content[21] & 0xF0,)) + total.to_bytes(4, "big") + content[26:]


@pytest.mark.parametrize("time_range", [{}, {"start": 0.5, "end": 3.0}, {"start": 2.5}])
def test_a_flac_that_counts_too_few_samples_is_read_whole(encoded, read, time_range):
    content = encoded("flac", TARGET)
    expected, _, _ = read(content, **time_range)
    samples, warnings, _ = read(count_flac(content, 1.5), **time_range)
    np.testing.assert_array_equal(samples, expected)
    assert warnings == ()


def test_an_impossible_frame_number_is_no_flac_frame(tmp_path):
    # Sync, an 8-bit block size, a 16-bit rate; 0xFF begins no number, and counts as eight bytes.
    (tmp_path / "song").write_bytes(bytes((0xFF, 0xF8, 0x7D, 0x10, 0xFF)) + bytes(20))
    with open_file(tmp_path / "song") as file:
        assert not flac_frames.frames_follow(FileWindow(file.fileno()), 0)


def test_damage_in_a_joined_part_is_reported_if_the_range_ends_before_the_part(encoded, read):
    content = bytearray(encoded("flac", TARGET))
    middle = len(content) // 2
    content[middle : middle + 2_000] = np.random.default_rng(0).bytes(2_000)
    for joined in (bytes(content), bytes(content) + encoded("flac", TARGET)):
        _, warnings, _ = read(joined, end=3.3)
        assert [warning.code for warning in warnings] == ["corrupt_audio"]
        assert 0.5 < warnings[0].start < 3.0
        _, warnings, _ = read(joined, end=0.4)
        assert warnings == ()


def test_an_mp3_whose_tag_counts_days_is_read(encoded, read):
    content = bytearray(encoded("mp3"))
    at = content.index(b"Info") if b"Info" in content[:200] else content.index(b"Xing")
    content[at + 8 : at + 12] = (10_000_000).to_bytes(4, "big")
    samples, warnings, duration = read(bytes(content))
    assert len(samples) == pytest.approx(SECONDS * TARGET, abs=0.03 * TARGET)
    assert duration is None
    assert [warning.code for warning in warnings] == ["truncated_audio"]


SIZES = [0x7FFFF000, 0x7FFFEFFC, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB]


@pytest.mark.parametrize("size", SIZES)
def test_a_wav_from_a_pipe_is_whole(encoded, read, size):
    content = bytearray(encoded("wav"))
    content[4:8] = min(size + 36, 0xFFFFFFFF).to_bytes(4, "little")
    content[40:44] = size.to_bytes(4, "little")
    samples, warnings, _ = read(bytes(content))
    assert len(samples) == round(SECONDS * TARGET)
    assert warnings == ()


def test_an_aiff_from_a_pipe_is_whole(encoded, read):
    content = bytearray(encoded("aiff"))
    sound = content.index(b"SSND")
    content[4:8] = (0x7F000050).to_bytes(4, "big")  # as SoX writes them
    content[sound + 4 : sound + 8] = (0x7F000008).to_bytes(4, "big")
    frames = content.index(b"COMM") + 10
    content[frames : frames + 4] = (0x3F800000).to_bytes(4, "big")
    samples, warnings, _ = read(bytes(content))
    assert len(samples) == round(SECONDS * TARGET)
    assert warnings == ()


@pytest.mark.parametrize("size", [0, 0xFFFFFFFFFFFFFFFF])
def test_an_rf64_from_a_pipe_is_whole(encoded, read, size):
    content = bytearray(encoded("rf64"))
    assert content[12:16] == b"ds64"
    content[20:36] = 2 * size.to_bytes(8, "little")
    samples, warnings, _ = read(bytes(content))
    # libsndfile pads the end of the header with a chunk that the size does not include.
    assert len(samples) == pytest.approx(SECONDS * TARGET, abs=2)
    assert warnings == ()


def test_a_caf_from_a_pipe_is_whole(encoded, read):
    content = bytearray(encoded("caf"))
    at = content.index(b"data")
    content[at + 4 : at + 12] = b"\xff" * 8
    samples, warnings, _ = read(bytes(content))
    assert len(samples) == round(SECONDS * TARGET)
    assert warnings == ()


@pytest.mark.parametrize("size", [1 << 31, 123_456_789])
def test_a_size_that_is_no_placeholder_shows_a_cut(encoded, read, size):
    content = bytearray(encoded("wav"))
    content[40:44] = (size - 100_000).to_bytes(4, "little")
    _, warnings, _ = read(bytes(content))
    assert [warning.code for warning in warnings] == ["truncated_audio"]
    assert not declared_sizes.is_placeholder(size - 100_000)


BEFORE = {
    "zeros": bytes(100_000),
    "megabytes of zeros": bytes(3 << 20),
    "text": b"HTTP/1.0 200 OK\r\nServer: radio\r\n\r\n" * 3_000,
    "noise": np.random.default_rng(0).bytes(200_000),
    "a tag that says too little": id3_tag(bytes(100_000))[:6] + bytes(4) + bytes(100_000),
    "a tag that says too much": b"ID3\x03\x00\x00\x00\x01\x00\x00" + bytes(10),
    "a tag longer than the file": b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + bytes(10),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("kind", ["mp3", "untagged_mp3", "aac"])
def test_frames_are_found_behind_other_bytes(encoded, read, kind, before):
    plain, _, _ = read(encoded(kind))
    samples, warnings, _ = read(BEFORE[before] + encoded(kind))
    np.testing.assert_array_equal(samples, plain)
    assert warnings == ()


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(26),
        b"%PDF-1.4\n",
        b"Rar!\x1a\x07\x00",
        b"\x89PNG\r\n",
        b"MThd\x00\x00\x00\x06",
    ],
    ids=["zip", "pdf", "rar", "png", "midi"],
)
def test_an_archive_that_holds_an_mp3_is_not_an_mp3(encoded, read, content):
    with pytest.raises(AudioFormatError, match="not audio that can be read: found a "):
        read(content + encoded("mp3"))


@pytest.mark.parametrize(
    "content",
    [
        np.random.default_rng(1).bytes(20 << 20),
        b"all work and no play makes a dull recording\n" * 200_000,
        b"\xff" * (8 << 20),
    ],
    ids=["noise", "text", "ones"],
)
def test_megabytes_without_sound_are_refused(read, content):
    with pytest.raises(AudioFormatError, match="not audio that can be read"):
        read(content)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("kind", ["untagged_mp3", "aac", "mp3"])
def test_the_codecs_delay_is_dropped_if_no_tag_states_it(encoded, read, kind, rate):
    samples, _, _ = read(encoded(kind, rate))
    # FFmpeg's AAC and LAME have the usual delays, so what is left is under a millisecond.
    assert abs(lags(samples, 1)[0]) < 2e-3


def test_a_slice_is_a_file_of_its_own(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(100)))
    with open_file(path) as file:
        part = FileSlice(file.fileno(), start=10, stop=20, patches={2: b"ab", 9: b"zz"})
        assert part.read() == bytes((10, 11, *b"ab", 14, 15, 16, 17, 18, *b"z"))
        assert part.seek(-3, 2) == 7
        assert part.read(2) == bytes((17, 18))
        assert part.seek(-1) == -1
        assert part.tell() == 9
        assert FileWindow(file.fileno()).find(bytes((98, 99)), 5) == 98
        assert FileWindow(file.fileno(), start=50).find(bytes((3,)), 0) == -1


def test_samples_through_a_slice_are_those_of_the_file(encoded, read, tmp_path):
    content = encoded("mp3")
    (tmp_path / "plain").write_bytes(content)
    expected, _ = soundfile.read(tmp_path / "plain", dtype="float32")
    (tmp_path / "behind").write_bytes(bytes(64) + content)
    with open_file(tmp_path / "behind") as file:
        part = FileSlice(file.fileno(), start=64)
        found, _ = soundfile.read(part, dtype="float32")
    np.testing.assert_array_equal(found, expected)
