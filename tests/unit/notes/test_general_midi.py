import pretty_midi
import pytest

from mt3_model.notes.general_midi import DRUM_NAMES, FAMILY_NAMES, PROGRAM_NAMES, family_name


def test_there_are_128_programs_in_16_families() -> None:
    assert len(PROGRAM_NAMES) == len(set(PROGRAM_NAMES)) == 128
    assert len(FAMILY_NAMES) == len(set(FAMILY_NAMES)) == 16


@pytest.mark.parametrize("program", range(128))
def test_program_names_agree_with_an_independent_table(program: int) -> None:
    theirs = pretty_midi.program_to_instrument_name(program).lower()
    # pretty_midi spells program 54 by its later name and one lead without brackets.
    spelled = {"synth choir": "synth voice", "lead 4 chiff": "lead 4 (chiff)"}
    assert PROGRAM_NAMES[program].lower() == spelled.get(theirs, theirs)


@pytest.mark.parametrize("key", range(35, 82))
def test_drum_names_agree_with_an_independent_table(key: int) -> None:
    assert DRUM_NAMES[key] == pretty_midi.note_number_to_drum_name(key)


@pytest.mark.parametrize(
    ("program", "family"), [(0, "Piano"), (7, "Piano"), (8, "Chromatic Percussion"), (33, "Bass")]
)
def test_family_is_that_of_eight_programs(program: int, family: str) -> None:
    assert family_name(program) == family
