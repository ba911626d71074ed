"""The staff of a piano on which each note is written."""

from mt3_model.score.hands import split_hands
from mt3_model.score.quantization import QuantizedNote


def note(pitch, start, end):
    return QuantizedNote(pitch=pitch, start=start, end=end, velocity=80)


def test_a_hand_that_holds_a_melody_note_leaves_the_chords_below_to_the_other():
    bars = range(0, 4 * 72, 72)
    melody = [note(75, bar, bar + 70) for bar in bars]
    basses = [note(39, bar, bar + 24) for bar in bars]
    chords = [
        note(pitch, bar + beat, bar + beat + 20)
        for bar in bars for beat in (24, 48) for pitch in (55, 60, 63)
    ]  # fmt: skip
    notes = sorted((*melody, *basses, *chords), key=lambda n: (n.start, n.pitch))
    right, _ = split_hands(notes)
    assert {n.pitch for n in right} == {75}


def test_close_chords_around_middle_c_stay_with_one_hand_when_the_other_is_far():
    notes = [note(p, beat, beat + 24) for beat in (0, 24, 48) for p in (31, 64, 67, 72)]
    right, left = split_hands(notes)
    assert {n.pitch for n in left} == {31}
    assert {n.pitch for n in right} == {64, 67, 72}
