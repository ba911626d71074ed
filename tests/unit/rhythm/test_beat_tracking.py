"""Beat tracking against the same dynamic program, one frame and one period at a time."""

import numpy as np
import pytest

from mt3_model.rhythm.beat_tracking import track_beats
from mt3_model.rhythm.tempo import autocorrelate


@pytest.mark.parametrize("period", [10.0, 14.3, 31.0])
@pytest.mark.parametrize("frames", [25, 160, 401])
def test_beats_are_those_of_the_plain_dynamic_program(period: float, frames: int) -> None:
    strength = np.random.default_rng(frames).random(frames) ** 4 * 3
    strength[:: round(period)] += 2

    assert track_beats(strength, [period])[0].tolist() == _track_plainly(strength, period)


def test_beats_are_found_in_silence_too() -> None:
    assert len(track_beats(np.zeros(300), [50.0])[0]) >= 3


@pytest.mark.parametrize("frames", [3, 150, 201, 1000])
def test_autocorrelation_is_the_mean_product_at_each_lag(frames: int) -> None:
    strength = np.random.default_rng(1).random(frames)
    centered = strength - strength.mean()
    means = [(centered[lag:] * centered[: frames - lag]).mean() for lag in range(min(frames, 201))]

    found = autocorrelate(strength)

    assert len(found) == 201
    np.testing.assert_allclose(found[: len(means)], np.array(means) / means[0], atol=1e-9)
    assert not found[len(means) :].any()


def _track_plainly(strength: np.ndarray, period: float) -> list[int]:
    """Return the best beats by loops over frames, periods and changes of the period."""
    periods = np.unique(np.round(period * 1.025 ** np.arange(-11, 12)).astype(int))
    totals: dict[tuple[int, int], np.float32] = {}
    before: dict[tuple[int, int], int] = {}
    for frame in range(len(strength)):
        for column, length in enumerate(periods):
            options = []
            for other in range(max(column - 2, 0), min(column + 3, len(periods))):
                cost = np.float32(0.5 * (np.log(periods[other] / length) / 0.02) ** 2)
                earlier = totals.get((frame - int(length), other), np.float32(0.0))
                options.append((np.float32(earlier - cost), -other))
            best, other = max(options)
            before[frame, column] = -other
            gain = np.float32(strength[frame]) * np.float32(length / period)
            totals[frame, column] = np.float32(best + gain)
    ends = [place for place in totals if place[0] >= len(strength) - int(periods[-1])]
    frame, column = max(ends, key=lambda place: (totals[place], -place[0], -place[1]))
    beats: list[int] = []
    while frame >= 0:
        beats.append(frame)
        frame, column = frame - int(periods[column]), before[frame, column]
    return beats[::-1]
