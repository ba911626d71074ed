import pytest

from mt3_model.codec.velocity import bin_to_velocity, velocity_to_bin


@pytest.mark.parametrize("velocity", [1, 64, 127])
def test_one_bin_holds_every_sounding_velocity(velocity: int) -> None:
    assert velocity_to_bin(velocity, 1) == 1


def test_zero_means_note_off_both_ways() -> None:
    assert velocity_to_bin(0, 127) == 0
    assert bin_to_velocity(0, 127) == 0


def test_one_bin_sounds_at_full_velocity() -> None:
    assert bin_to_velocity(1, 1) == 127


@pytest.mark.parametrize("velocity", range(128))
def test_127_bins_keep_every_velocity(velocity: int) -> None:
    assert bin_to_velocity(velocity_to_bin(velocity, 127), 127) == velocity


def test_coarser_bins_round_up_in_and_down_out() -> None:
    # 64 of 127 in 4 bins: ceil(4 * 64 / 127) = ceil(2.016) = 3; 127 * 3 / 4 = 95.25 -> 95
    assert velocity_to_bin(64, 4) == 3
    assert bin_to_velocity(3, 4) == 95
