"""Times are those of the recording's own clock in every container and codec."""

import pathlib

import numpy as np
import pytest

from mt3_model.audio.recording import AudioWarning, RecordingInfo
from mt3_model.errors import AudioEmptyError
from tests.unit.audio.encoded_recordings import encode, write_sound
from tests.unit.audio.in_process import read_recording
from tests.unit.audio.timed_recordings import (
    SECONDS,
    lag_seconds,
    opus_packets,
    shift_pages,
    tones,
    write_caf,
    write_timed,
)

pytestmark = pytest.mark.slow

TARGET = 16_000
EXPECTED = tones(TARGET, channels=1)[:, 0]
OGG_KINDS = {"vorbis": 44_100, "opus": 48_000, "flac": 44_100}
HOURS = 3 * 3_600


def read(
    path: pathlib.Path, **time_range
) -> tuple[np.ndarray, RecordingInfo, tuple[AudioWarning, ...]]:
    found = read_recording(path, **time_range)
    return found.samples, found.info, found.warnings


def assert_on_time(found: np.ndarray, *, delay: float = 0.0, tolerance: float = 0.001) -> None:
    assert lag_seconds(found, EXPECTED, TARGET) == pytest.approx(delay, abs=tolerance)


def hls_tag(ticks: int) -> bytes:
    """Return the ID3 tag of an HLS audio segment: its start at 90 kHz (RFC 8216, 3.4)."""
    content = b"com.apple.streaming.transportStreamTimestamp\0" + ticks.to_bytes(8, "big")
    frame = b"PRIV" + len(content).to_bytes(4, "big") + b"\0\0" + content
    return b"ID3\x04\0\0\0\0\0" + bytes([len(frame)]) + frame


def write_ogg(path: pathlib.Path, kind: str) -> bytes:
    rate = OGG_KINDS[kind]
    samples = tones(rate)
    if kind == "flac":
        encode(path, samples, muxer="ogg", codec="flac", rate=rate, options={})
    else:
        write_sound(path, samples, rate=rate, kind="OGG", subtype=kind.upper())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("muxer", "codec"), [("adts", "aac"), ("mp3", "libmp3lame"), ("ac3", "ac3"), ("eac3", "eac3")]
)
@pytest.mark.parametrize("ticks", [0, 90_000 * HOURS])
def test_an_hls_audio_segment_begins_at_0_at_any_hour_of_its_clock(tmp_path, muxer, codec, ticks):
    path = write_timed(tmp_path / "segment", muxer=muxer, codec=codec)
    whole, _, _ = read(path)
    path.write_bytes(hls_tag(ticks) + path.read_bytes())
    found, _, warnings = read(path)
    assert warnings == ()
    np.testing.assert_array_equal(found, whole)
    assert_on_time(found)


@pytest.mark.parametrize("kind", OGG_KINDS)
def test_sound_before_zero_in_a_cut_ogg_is_dropped_and_its_end_kept(tmp_path, kind):
    path = tmp_path / "song"
    content = write_ogg(path, kind)
    whole, _, _ = read(path)
    path.write_bytes(shift_pages(content, samples=-OGG_KINDS[kind] // 2))
    found, info, warnings = read(path)
    assert warnings == ()
    assert info.duration_seconds == pytest.approx(SECONDS - 0.5, abs=0.001)
    assert len(found) == len(whole) - TARGET // 2
    # Another library decodes, and resampling begins elsewhere: a thousandth of full scale.
    np.testing.assert_allclose(found[500:-500], whole[TARGET // 2 + 500 : -500], atol=2e-3)


@pytest.mark.parametrize("kind", OGG_KINDS)
@pytest.mark.parametrize("skipped_pages", [0, 5_000])
def test_a_capture_of_a_running_stream_begins_at_zero(tmp_path, kind, skipped_pages):
    path = tmp_path / "song"
    content = write_ogg(path, kind)
    shift = HOURS * OGG_KINDS[kind]
    path.write_bytes(shift_pages(content, samples=shift, skipped_pages=skipped_pages))
    found, info, warnings = read(path)
    assert warnings == ()
    assert info.duration_seconds == pytest.approx(SECONDS, abs=0.001)
    assert len(found) == pytest.approx(SECONDS * TARGET, abs=2)
    assert_on_time(found)
    part, _, _ = read(path, start=1.0, end=2.0)
    np.testing.assert_allclose(part[500:-500], found[TARGET + 500 : 2 * TARGET - 500], atol=2e-3)


def test_a_page_lost_later_in_such_a_stream_is_still_damage(tmp_path):
    path = tmp_path / "song"
    noise = np.random.default_rng(0).standard_normal((4 * 48_000, 2)) / 10
    write_sound(path, noise, rate=48_000, kind="OGG", subtype="OPUS")
    content = shift_pages(path.read_bytes(), samples=HOURS * 48_000, skipped_pages=5_000)
    pages = [b"OggS" + page for page in content.split(b"OggS")[1:]]
    del pages[4]
    path.write_bytes(b"".join(pages))
    _, _, warnings = read(path)
    assert [warning.code for warning in warnings] == ["corrupt_audio"]
    assert warnings[0].start == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("muxer", "codec", "video"),
    [
        ("mp4", "aac", "mpeg4"),
        ("mp4", "alac", "mpeg4"),
        ("mov", "pcm_s16le", "mpeg4"),
        ("matroska", "aac", "mpeg4"),
        ("matroska", "flac", "mpeg4"),
        ("webm", "libopus", "libvpx"),
        ("mpegts", "aac", "mpeg2video"),
        ("mpegts", "mp2", "mpeg2video"),
        ("flv", "aac", "flv"),
    ],
)
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_sound_that_begins_after_the_picture_keeps_its_delay(tmp_path, muxer, codec, video, delay):
    path = write_timed(tmp_path / "film", muxer=muxer, codec=codec, video=video, delay=delay)
    found, _, warnings = read(path)
    assert warnings == ()
    # Matroska and FLV count milliseconds; Opus loses its pre-skip of 6.5 ms in some writers.
    assert_on_time(found, delay=delay, tolerance=0.008)
    part, _, _ = read(path, start=0.2, end=1.2)
    assert len(part) == TARGET
    np.testing.assert_allclose(part[500:-500], found[3_700:18_700], atol=2e-3)


def test_an_edit_list_delays_sound_without_pictures(tmp_path):
    path = write_timed(tmp_path / "song", muxer="ipod", codec="aac", delay=0.5)
    found, info, warnings = read(path)
    assert warnings == ()
    assert_on_time(found, delay=0.5)
    assert info.duration_seconds == pytest.approx(SECONDS + 0.5, abs=0.03)


@pytest.mark.parametrize(("muxer", "codec"), [("matroska", "aac"), ("webm", "libopus"),
                                              ("mpegts", "aac"), ("mp4", "aac")])  # fmt: skip
def test_a_clock_that_begins_at_any_hour_is_counted_from_there(tmp_path, muxer, codec):
    options = {"movflags": "frag_keyframe+empty_moov+frag_discont"} if muxer == "mp4" else {}
    path = write_timed(tmp_path / "song", muxer=muxer, codec=codec, delay=HOURS, options=options)
    found, info, warnings = read(path)
    assert warnings == ()
    assert info.duration_seconds is None or info.duration_seconds < SECONDS + 0.1
    assert_on_time(found, tolerance=0.008)


def test_sound_hours_after_the_picture_has_a_clock_of_its_own(tmp_path):
    path = write_timed(
        tmp_path / "film", muxer="matroska", codec="flac", video="mpeg4", delay=HOURS
    )
    found, _, _ = read(path)
    assert_on_time(found, tolerance=0.002)


@pytest.mark.parametrize(
    ("muxer", "codec"),
    [
        ("matroska", "aac"), ("mpegts", "aac"), ("flv", "aac"), ("avi", "aac"),
        ("matroska", "mp2"), ("mpegts", "mp2"), ("avi", "mp2"),
        ("matroska", "ac3"), ("mpegts", "ac3"), ("ac3", "ac3"),
        ("mpegts", "libopus"), ("webm", "libopus"), ("mp4", "libopus"),
        ("ipod", "aac"), ("mp4", "ac3"),
    ],
)  # fmt: skip
def test_the_delay_of_a_codec_is_dropped_once(tmp_path, muxer, codec):
    path = write_timed(tmp_path / "song", muxer=muxer, codec=codec)
    found, _, warnings = read(path)
    assert warnings == ()
    assert_on_time(found, tolerance=0.002)


@pytest.mark.parametrize("priming", [0, 312])
def test_opus_in_caf_loses_its_pre_skip(tmp_path, priming):
    packets = opus_packets(write_timed(tmp_path / "song", muxer="webm", codec="libopus"))
    found, _, _ = read(write_caf(tmp_path / "caf", packets, priming=priming))
    assert_on_time(found)


def test_an_mp4_without_an_edit_list_loses_the_codecs_delay(tmp_path):
    path = write_timed(tmp_path / "song", muxer="ipod", codec="aac", options={"use_editlist": "0"})
    found, _, _ = read(path)
    assert_on_time(found)


def test_a_stream_cut_in_its_middle_loses_nothing(tmp_path):
    # Packets of a transport stream, from the middle of a tone on.
    packets = 188
    content = write_timed(tmp_path / "song", muxer="mpegts", codec="aac").read_bytes()
    whole, _, _ = read(tmp_path / "song")
    tables = content[: 3 * packets]  # service, program association and program map
    middle = len(content) // packets // 2
    (tmp_path / "part").write_bytes(tables + content[middle * packets :])
    found, _, _ = read(tmp_path / "part")
    lag = lag_seconds(found, whole, TARGET)
    # Nothing is lost up to the end: the part is as long as the rest of the whole from there.
    assert len(found) / TARGET - lag == pytest.approx(len(whole) / TARGET, abs=0.002)
    assert np.max(np.abs(found[:200])) > 0


def test_a_recording_that_ends_before_its_clock_begins_is_empty(tmp_path):
    path = tmp_path / "song"
    content = write_ogg(path, "vorbis")
    path.write_bytes(shift_pages(content, samples=-1_000 * 44_100))
    with pytest.raises(AudioEmptyError, match="no sample"):
        read(path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "seconds", "onsets"),
    [
        ("cut2.ogg", 5.0, [0.5, 1.5, 2.5, 3.5]),
        ("live3hgap_opus.opus", 7.0, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]),
        ("vdelay.mp4", 9.0, [2.5, 3.5, 4.5, 5.5, 6.5, 7.5]),
    ],
)
def test_recordings_that_were_read_wrongly(shared_folder, name, seconds, onsets):
    found, _, warnings = read(shared_folder / "cases" / name)
    assert warnings == ()
    assert len(found) / TARGET == pytest.approx(seconds, abs=0.05)
    for onset in onsets:
        at = round(onset * TARGET)
        before, after = found[at - 640 : at - 160], found[at + 160 : at + 640]
        # A note of a piano 10 to 40 ms after its onset, compared with the end of the last one.
        assert np.mean(after**2) > 4 * np.mean(before**2)


def test_a_stream_no_longer_than_its_delay_is_kept(tmp_path):
    packets = opus_packets(write_timed(tmp_path / "song", muxer="webm", codec="libopus"))
    found, _, _ = read(write_caf(tmp_path / "caf", packets[:1], priming=0))
    assert len(found) == pytest.approx((960 - 312) / 3, abs=1)
