from msgspec import structs

from mt3_model.notes.note import Note
from mt3_model.postprocessing.false_drums import leave_out_false_drums
from tests.unit.postprocessing.tones import note

PITCHED = [note(60 + i % 12, i / 4, i / 4 + 0.2) for i in range(40)]


def drums(count: int, *, confidence: float | None = 0.7, late: float = 0.01) -> list[Note]:
    return [
        structs.replace(note(36, i + late, i + late + 0.01, drum=True), confidence=confidence)
        for i in range(count)
    ]


def test_few_unsure_drums_that_begin_with_notes_are_left_out() -> None:
    assert leave_out_false_drums(drums(5), PITCHED) == ()


def test_sure_drums_stay() -> None:
    sure = drums(5, confidence=0.95)
    assert leave_out_false_drums(sure, PITCHED) == tuple(sure)


def test_drums_between_notes_stay() -> None:
    between = drums(5, late=0.1)
    assert leave_out_false_drums(between, PITCHED) == tuple(between)


def test_many_drums_stay() -> None:
    assert leave_out_false_drums(drums(10), PITCHED[:20]) == tuple(drums(10))


def test_drums_stay_without_confidence_or_without_pitched_notes() -> None:
    unknown = drums(5, confidence=None)
    assert leave_out_false_drums(unknown, PITCHED) == tuple(unknown)
    assert leave_out_false_drums(drums(5), []) == tuple(drums(5))
    assert leave_out_false_drums([], PITCHED) == ()
