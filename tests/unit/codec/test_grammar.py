import numpy as np
import pytest

from mt3_model import spec
from mt3_model.codec.grammar import Grammar, build_grammar

PITCH = 1064
OFF, ON = 1132, 1133
TIE = 1134
PROGRAM = 1135
DRUM = 1299
SHIFT = 13
END, PAD = 1, 0

MT3 = build_grammar(spec.MT3.vocabulary)


@pytest.mark.parametrize("model", spec.MODELS.values(), ids=lambda model: model.name)
def test_tables_have_a_row_per_state_and_a_column_per_embedding_row(
    model: spec.ModelSpec,
) -> None:
    grammar = build_grammar(model.vocabulary)
    assert grammar.allowed.shape == grammar.next.shape
    assert grammar.allowed.shape[1] == model.network.vocabulary_size


@pytest.mark.parametrize("model", spec.MODELS.values(), ids=lambda model: model.name)
def test_every_state_can_reach_the_end(model: spec.ModelSpec) -> None:
    grammar = build_grammar(model.vocabulary)
    reaching = {grammar.end}
    for _ in range(len(grammar.allowed)):
        targets = np.isin(grammar.next, list(reaching)) & grammar.allowed
        reaching |= set(np.flatnonzero(targets.any(axis=1)).tolist())
    assert reaching == set(range(len(grammar.allowed)))


def test_extras_and_padded_embedding_rows_are_never_allowed() -> None:
    assert not MT3.allowed[:, 1391:].any()
    assert not MT3.allowed[:, 2].any()


def test_first_segment_of_the_golden_piece_is_accepted() -> None:
    # The head of golden/mixed.json: tie, a shift, program, velocity, a chord, other programs,
    # drums at full velocity, note-offs.
    tokens = [1134, 34, 1135, 1133, 1064, 1068, 1071, 1168, 1052, 1299, 64, 1305, 85, 1168, 1132]
    assert MT3.first_rejected([*tokens, 1052, END, PAD, PAD]) is None


def test_empty_segment_is_a_tie_and_an_end() -> None:
    assert MT3.first_rejected([TIE, END]) is None


def test_tied_notes_are_programs_with_pitches() -> None:
    assert MT3.first_rejected([PROGRAM, PITCH, PITCH + 1, PROGRAM + 8, PITCH, TIE, END]) is None


@pytest.mark.parametrize(
    ("tokens", "position"),
    [
        pytest.param([END], 0, id="end in the tie section"),
        pytest.param([SHIFT], 0, id="shift in the tie section"),
        pytest.param([PITCH], 0, id="tied pitch without a program"),
        pytest.param([PROGRAM, TIE], 1, id="program that no pitch follows"),
        pytest.param([TIE, TIE], 1, id="second tie"),
        pytest.param([TIE, PROGRAM, PITCH], 2, id="pitch before any velocity"),
        pytest.param([TIE, ON, PITCH], 2, id="pitch before any program"),
        pytest.param([TIE, DRUM], 1, id="drum before any velocity"),
        pytest.param([TIE, OFF], 1, id="note-off before any program"),
        pytest.param([TIE, PROGRAM, OFF, PITCH, DRUM], 4, id="drum at velocity 0"),
        pytest.param([TIE, PROGRAM, ON, DRUM], 3, id="drum after a program"),
        pytest.param([TIE, ON, DRUM, ON], 3, id="velocity said twice"),
        pytest.param([TIE, PROGRAM, PROGRAM + 1], 2, id="program after a program"),
        pytest.param([TIE, PROGRAM, ON, PITCH, OFF, PROGRAM], 5, id="program after a velocity"),
        pytest.param([TIE, PROGRAM, SHIFT], 2, id="shift after a program"),
        pytest.param([TIE, ON, SHIFT], 2, id="shift after a velocity"),
        pytest.param([TIE, ON, END], 2, id="end after a velocity"),
        pytest.param([TIE, ON, TIE], 2, id="tie among the events"),
        pytest.param([TIE, SHIFT, END], 2, id="end after a shift"),
        pytest.param([TIE, SHIFT, SHIFT + 1], 2, id="shift after a shift"),
        pytest.param([TIE, 3], 1, id="shift of 0"),
        pytest.param([TIE, END, TIE], 2, id="anything after the end"),
    ],
)
def test_sequences_that_the_encoder_cannot_write_are_rejected(
    tokens: list[int], position: int
) -> None:
    assert MT3.first_rejected(tokens) == position


def test_longest_shift_may_go_on() -> None:
    assert MT3.first_rejected([TIE, 1003, 1003, SHIFT, ON, DRUM, END]) is None


def test_piano_model_has_no_ties_and_no_programs() -> None:
    grammar: Grammar = build_grammar(spec.ISMIR2021.vocabulary)
    velocity_64, tie, program = 1132 + 64, 1260, 1261
    assert grammar.first_rejected([velocity_64, PITCH, SHIFT, velocity_64 + 1, PITCH, END]) is None
    assert grammar.first_rejected([tie]) == 0
    assert grammar.first_rejected([program]) == 0
