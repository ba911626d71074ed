"""Recordings with several audio tracks: the one that is read, and warnings about the others."""

import av
import numpy as np
import pytest

from mt3_model.audio import isolation
from mt3_model.errors import AudioTrackError
from tests.unit.audio.encoded_recordings import sine, write_sound
from tests.unit.audio.in_process import read_recording
from tests.unit.audio.timed_recordings import lag_seconds, tones, write_timed

RATE = 16_000
EXPECTED = tones(RATE, channels=1)[:, 0]


def read(path, **options):
    with isolation.open_recording(path, sample_rate=RATE, **options) as recording:
        samples = np.concatenate([*recording.blocks()])
    return samples, recording


@pytest.mark.parametrize(
    ("muxer", "codec"), [("matroska", "flac"), ("mp4", "aac"), ("mpegts", "mp2")]
)
def test_a_silent_track_names_the_others_and_another_can_be_chosen(tmp_path, muxer, codec):
    path = write_timed(tmp_path / "song", muxer=muxer, codec=codec, tracks=(0.0, 1.0, 0.0))
    samples, recording = read(path)
    assert np.max(np.abs(samples)) < 1e-4
    assert (recording.info.audio_track, recording.info.audio_tracks) == (1, 3)
    assert [warning.code for warning in recording.warnings] == ["silent_audio"]
    assert "other audio tracks: 2" in recording.warnings[0].message
    assert "audio_track" in recording.warnings[0].message
    samples, recording = read(path, audio_track=2)
    assert recording.info.audio_track == 2
    assert recording.warnings == ()
    assert abs(lag_seconds(samples, EXPECTED, RATE)) < 0.002
    np.testing.assert_array_equal(samples, read_recording(path, audio_track=2).samples)


@pytest.mark.parametrize("audio_track", [0, 3, -1])
def test_a_track_that_is_not_there_is_refused_with_their_number(tmp_path, audio_track):
    path = write_timed(tmp_path / "song", muxer="matroska", codec="flac", tracks=(1.0, 0.5))
    with pytest.raises(AudioTrackError, match=r"has 2 audio tracks; expected 1 to 2"):
        read(path, audio_track=audio_track)


def test_a_recording_of_one_track_has_track_one(tmp_path):
    path = write_sound(tmp_path / "song", sine(0.5))
    np.testing.assert_array_equal(read(path, audio_track=1)[0], read(path)[0])
    with pytest.raises(AudioTrackError, match="has one audio track; expected 1"):
        read(path, audio_track=2)


def test_more_channels_than_eight_are_read_from_their_own_planes(tmp_path):
    # PyAV's own `to_ndarray` reads beyond the list of planes here and crashes the process.
    path, rate, channels = tmp_path / "song", 48_000, 16
    sound = np.repeat(sine(1.0, rate, channels=1), channels, axis=1)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream(
            "libopus", rate=rate, layout="hexadecagonal", options={"mapping_family": "255"}
        )
        for begin in range(0, rate, 960):
            part = sound[begin : begin + 960].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout="hexadecagonal")
            frame.sample_rate, frame.pts = rate, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples, recording = read(path)
    assert recording.info.channels == channels
    # The mean of equal channels at half of full scale; Opus keeps a lone sine within some percent.
    assert np.max(np.abs(samples[4_000:12_000])) == pytest.approx(0.5, rel=0.05)
