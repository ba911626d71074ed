"""Recordings with several audio tracks: which one is read, and what is said of the others."""

import numpy as np
import pytest

from mt3_model.audio import isolation, reading
from mt3_model.errors import AudioTrackError
from tests.unit.audio.recordings import sine, write_sound
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
    in_this_process = np.concatenate([*reading.read_blocks(path, sample_rate=RATE, audio_track=2)])
    np.testing.assert_array_equal(samples, in_this_process)


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
