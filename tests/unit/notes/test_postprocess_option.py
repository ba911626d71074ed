import pytest

from mt3_model.errors import OptionError
from mt3_model.notes.postprocess_option import (
    POSTPROCESS_STEPS,
    normalize_postprocess,
    parse_postprocess,
)


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ("default", POSTPROCESS_STEPS),
        ("none", ()),
        ("ensemble, bass_octave,ensemble", ("bass_octave", "ensemble")),
    ],
)
def test_steps_are_read_in_the_order_in_which_they_run(value: str, steps: tuple[str, ...]) -> None:
    assert parse_postprocess(value) == steps


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("none,ties", "none cannot be combined with other names; expected default, none, or some"),
        ("ties, default", "default cannot be combined with other names; expected default"),
        ("none,octave", "none cannot be combined"),
        ("ties,octave", "'octave' is unknown; expected default"),
        ("ties,,velocity", "'' is unknown; expected default"),
    ],
)
def test_a_refusal_names_the_name_at_fault(value: str, reason: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_postprocess(value)
    assert str(caught.value).startswith(f"postprocess is {value!r}; {reason}")


@pytest.mark.parametrize("value", ["", "octave", "none,duplicates", "default,duplicates"])
def test_unknown_steps_are_refused(value: str) -> None:
    with pytest.raises(OptionError, match="expected default, none, or some of ties, false_drums"):
        parse_postprocess(value)


@pytest.mark.parametrize(
    ("value", "applied"),
    [
        ("default", "default"),
        ("none", "none"),
        ("ensemble, bass_octave,ensemble", "bass_octave,ensemble"),
        (" duplicates", "duplicates"),
        (" none ", "none"),
        ("none,none", "none"),
    ],
)
def test_the_option_is_written_as_applied(value: str, applied: str) -> None:
    assert normalize_postprocess(value) == applied
