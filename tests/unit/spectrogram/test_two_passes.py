"""Two passes: the first has the usual segments, the second has others around their borders."""

import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import split_segments, split_two_passes

SIZE = 32_768  # samples of a segment: 256 frames of 128
HALF = SIZE // 2
COUNTS = (0, 1, 127, 128, HALF - 1, HALF, HALF + 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 20_077)


def samples(count: int) -> np.ndarray:
    return np.arange(1, count + 1, dtype=np.float32)


def passes(count: int, block: int = 10_000):
    blocks = [samples(count)[at : at + block] for at in range(0, count, block)]
    segments = list(split_two_passes(blocks, MT3))
    return (
        [s for s in segments if not s.is_second_pass],
        [s for s in segments if s.is_second_pass],
        segments,
    )


def described(segments):
    return [(s.frames, s.start_time, s.samples.tolist()) for s in segments]


@pytest.mark.parametrize("count", COUNTS)
def test_the_first_pass_is_that_of_one_pass(count):
    first, _, _ = passes(count)
    assert described(first) == described(split_segments([samples(count)], MT3))


@pytest.mark.parametrize("count", COUNTS)
def test_the_second_pass_is_one_pass_over_the_recording_after_half_a_segment_of_zeros(count):
    _, second, _ = passes(count)
    later = np.concatenate([np.zeros(HALF, np.float32), samples(count)])
    expected = list(split_segments([later], MT3))
    assert [(s.frames, s.samples.tolist()) for s in second] == [
        (s.frames, s.samples.tolist()) for s in expected
    ]
    # 1.024 s earlier, rounded down to 10 ms.
    for found, without in zip(second, expected, strict=True):
        assert found.start_time == pytest.approx(without.start_time - 1.024, abs=0.0101)
        assert round(found.start_time * 100) == pytest.approx(found.start_time * 100, abs=1e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_the_passes_take_turns_from_the_second_on(count):
    first, second, segments = passes(count)
    assert [s.index for s in segments] == list(range(len(segments)))
    assert [s.is_second_pass for s in segments] == [i % 2 == 0 for i in range(len(segments))]
    assert {segments[-1].start_time, segments[-2].start_time} == {
        first[-1].start_time,
        second[-1].start_time,
    }
