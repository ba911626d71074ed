"""Segments have the original's padding, start times and frame counts."""

import numpy as np
import pytest

from mt3_model import spec
from mt3_model.spectrogram.segments import Segment, segment_start_time, split_segments

SIZE = 32_768  # samples of a segment: 256 frames of 128
HOP = 128


def split(count: int, block: int = 16_000) -> list[Segment]:
    samples = np.arange(1, count + 1, dtype=np.float32)
    blocks = [samples[at : at + block] for at in range(0, count, block)]
    return list(split_segments(blocks, spec.MT3))


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        (0, [1]),  # one hop of zeros
        (1, [1]),  # 127 zeros fill the hop
        (127, [1]),
        (HOP, [2]),  # an exact multiple of the hop gains a whole frame
        (HOP + 1, [2]),
        (SIZE - HOP, [256]),  # 255 frames and the one gained
        (SIZE - 1, [256]),
        (SIZE, [256, 1]),  # an exact segment gains a segment of one frame
        (SIZE + 1, [256, 1]),
        (2 * SIZE, [256, 256, 1]),
        (2 * SIZE + 1_000, [256, 256, 8]),  # 1,000 + 24 zeros = 8 hops
    ],
)
def test_frames_are_the_recordings_and_one_of_padding_at_most(count, frames):
    assert [segment.frames for segment in split(count)] == frames


@pytest.mark.parametrize("count", [0, 1, HOP, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 77])
def test_samples_are_the_recordings_with_zeros_after(count):
    segments = split(count)
    joined = np.concatenate([segment.samples for segment in segments])
    assert all(len(segment.samples) == SIZE for segment in segments)
    np.testing.assert_array_equal(joined[:count], np.arange(1, count + 1, dtype=np.float32))
    assert not joined[count:].any()
    assert [segment.index for segment in segments] == list(range(len(segments)))


@pytest.mark.parametrize("block", [1, 127, HOP, 1_000, SIZE, 100_000])
def test_segments_do_not_depend_on_the_blocks(block):
    count = SIZE + 4_321 if block > 1 else 300
    expected = split(count, block=count)
    found = split(count, block=block)
    for one, other in zip(found, expected, strict=True):
        assert (one.index, one.frames, one.start_time) == (
            other.index,
            other.frames,
            other.start_time,
        )
        np.testing.assert_array_equal(one.samples, other.samples)


def test_a_segment_is_yielded_as_soon_as_it_is_full():
    def blocks():
        yield np.zeros(SIZE, np.float32)
        raise AssertionError("asked for more than the first segment needs")

    assert next(split_segments(blocks(), spec.MT3)).frames == 256


def test_a_start_time_is_the_step_below_its_first_frame():
    # 2.048 s a segment: 0, 2.048 -> 2.04, 4.096 -> 4.09, 6.144 -> 6.14.
    found = [segment_start_time(index, spec.MT3) for index in range(4)]
    assert found == pytest.approx([0, 2.04, 4.09, 6.14], abs=1e-9)


def test_a_start_time_on_a_step_may_fall_to_the_step_below_as_in_the_original():
    # 15 * 2.048 = 30.72, and 30.72 % 0.01 is 0.00999.. in float64: 30.71.
    assert segment_start_time(15, spec.MT3) == pytest.approx(30.71, abs=1e-9)
    # The module's own count: 43 of the first 400 land one step below the exact floor.
    below = [
        index
        for index in range(400)
        # index * 2.048 s in whole steps: index * 2,048 // 10 steps of 10 ms.
        if round(segment_start_time(index, spec.MT3) * 100) < index * 2_048 // 10
    ]
    assert len(below) == 43


def test_the_piano_model_has_segments_of_512_frames():
    segments = list(split_segments([np.ones(70_000, np.float32)], spec.ISMIR2021))
    # 70,000 = 65,536 + 4,464; 4,464 + 16 zeros = 35 hops.
    assert [segment.frames for segment in segments] == [512, 35]
    assert segments[1].start_time == pytest.approx(4.09, abs=1e-9)  # 4.096 s
