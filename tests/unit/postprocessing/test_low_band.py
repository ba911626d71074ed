import numpy as np
import pytest

from mt3_model.postprocessing.low_band import FACTOR, LowBand, reduce_to_low_band

SAMPLE_RATE = 16_000
SEGMENT = 32_768


def tone(frequency: float) -> np.ndarray:
    times = np.arange(SEGMENT) / SAMPLE_RATE
    return np.sin(2.0 * np.pi * frequency * times).astype(np.float32)


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values / 32_767.0) ** 2)))


@pytest.mark.parametrize("frequency", [30.0, 250.0, 900.0])
def test_low_tones_pass(frequency: float) -> None:
    # A sine has 1 / sqrt(2); a tenth (0.8 dB) is below what the evidence tells apart.
    assert root_mean_square(reduce_to_low_band(tone(frequency))) == pytest.approx(0.707, rel=0.1)


@pytest.mark.parametrize("frequency", [3_500.0, 5_000.0, 7_000.0])
def test_high_tones_do_not_fold_down(frequency: float) -> None:
    # 30 dB below a passed tone.
    assert root_mean_square(reduce_to_low_band(tone(frequency))) < 0.707 / 31


def test_a_quarter_of_the_samples_is_kept() -> None:
    band = LowBand(SAMPLE_RATE)
    band.add_samples(tone(100.0))
    band.add_samples(tone(100.0))
    assert (band.sample_rate, len(band.values())) == (4_000.0, 2 * SEGMENT // FACTOR)


def test_loud_samples_are_clipped() -> None:
    assert reduce_to_low_band(np.full(64, 9.0, np.float32)).max() == 32_767


def test_no_samples_give_no_values() -> None:
    assert len(LowBand(SAMPLE_RATE).values()) == 0
