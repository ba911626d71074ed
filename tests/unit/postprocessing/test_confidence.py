"""Checks the mapping of confidences."""

import pytest
from msgspec import structs

from mt3_model.postprocessing.confidence import calibrate_confidence
from tests.unit.postprocessing.tones import note


def calibrated(confidence: float, *, drum: bool = False) -> float:
    raw = structs.replace(note(60, drum=drum), confidence=confidence)
    found = calibrate_confidence([raw])[0].confidence
    assert found is not None
    return found


@pytest.mark.parametrize("drum", [False, True])
def test_order_stays(drum: bool) -> None:
    found = [calibrated(p / 20, drum=drum) for p in range(1, 20)]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_even_odds_stay_for_pitched_notes() -> None:
    assert calibrated(0.5) == pytest.approx(0.5)


def test_known_value() -> None:
    # log odds of .9 are 2.197; a fifth of it is .439; 1 / (1 + exp(-.439)) = .608.
    assert calibrated(0.9) == pytest.approx(0.608, abs=5e-4)


def test_certainty_is_never_claimed() -> None:
    for drum in (False, True):
        assert 0.0 < calibrated(0.0, drum=drum) < calibrated(1.0, drum=drum) < 0.9


def test_notes_without_confidence_keep_none() -> None:
    assert calibrate_confidence([note(60)]) == (note(60),)
