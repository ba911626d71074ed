"""The length of the whole recording, once a range of it has been read."""

import pytest

from mt3_model.audio.recording import TimeRange


@pytest.mark.parametrize(
    ("start", "end", "read", "declared", "whole"),
    [
        (0.0, None, 3.0, None, 3.0),  # all of it was read
        (1.0, None, 2.0, 7.0, 3.0),  # the samples read count, not the header
        (1.0, 2.5, 1.5, 3.0, 3.0),
        (1.0, 2.5, 1.5, None, None),
        (9.0, 12.0, 3.0, 7.0, None),  # joined files: the first one's header
        (1.0, 9.0, 2.0, None, 3.0),  # the recording ended before the range
        (1.0, 3.0, 2.0, 3.0, 3.0),
    ],
)
def test_the_length_is_known_or_none(start, end, read, declared, whole):
    time_range = TimeRange(start=start, end=end)
    assert time_range.recording_seconds(read=read, declared=declared) == whole
