"""The option that chooses the clean-up steps, separate from the code that runs them.

`TranscriptionOptions` holds it, so it is in a layer below `mt3_model/postprocessing`.
"""

from typing import Literal, get_args

from mt3_model.errors import OptionError

PostprocessStep = Literal[
    "ties",
    "false_drums",
    "bass_octave",
    "part_octave",
    "duplicates",
    "ensemble",
    "usual_programs",
    "velocity",
    "confidence",
]
"""A step of the clean-up. `mt3_model/postprocessing/README.md` describes and measures each."""
POSTPROCESS_STEPS: tuple[PostprocessStep, ...] = get_args(PostprocessStep)
"""All steps, in the order in which they run."""
DEFAULT_STEPS: tuple[PostprocessStep, ...] = POSTPROCESS_STEPS
"""The steps of ``default``."""
EXPECTED_POSTPROCESS = (
    f"default, none, or some of {', '.join(POSTPROCESS_STEPS)} separated by commas"
)
"""The values of the option, for messages."""
_DEFAULT, _NONE = "default", "none"
_SHOWN_CHARACTERS = 100


def parse_postprocess(value: str) -> tuple[PostprocessStep, ...]:
    """Read ``default``, ``none`` or step names separated by commas.

    Returns:
        The steps in the order in which they run, each once.

    Raises:
        OptionError: a name is unknown, or ``default`` or ``none`` is not the only one.
    """
    names = _split(value)
    if names == [_DEFAULT]:
        return DEFAULT_STEPS
    if names == [_NONE]:
        return ()
    if not set(names) <= set(POSTPROCESS_STEPS):
        shown = value[:_SHOWN_CHARACTERS]
        raise OptionError(
            "postprocess", f"postprocess is {shown!r}; {explain_postprocess_fault(value)}"
        )
    return tuple(step for step in POSTPROCESS_STEPS if step in names)


def normalize_postprocess(value: str) -> str:
    """Return the option as it is applied: named steps in the order in which they run, each once.

    Raises:
        OptionError: as `parse_postprocess`.
    """
    steps = parse_postprocess(value)
    (first, *_) = _split(value)
    return first if first in (_DEFAULT, _NONE) else ",".join(steps)


def explain_postprocess_fault(value: object) -> str:
    """Say why a value is refused, and what was expected."""
    names = _split(value if isinstance(value, str) else "")
    expected = f"expected {EXPECTED_POSTPROCESS}"
    whole = [name for name in names if name in (_DEFAULT, _NONE)]
    if whole and len(names) > 1:
        return f"{whole[0]} cannot be combined with other names; {expected}"
    unknown = [name for name in names if name not in POSTPROCESS_STEPS]
    if unknown and len(names) > 1:
        return f"{unknown[0][:_SHOWN_CHARACTERS]!r} is unknown; {expected}"
    return expected


def _split(value: str) -> list[str]:
    """Return the names in a value, each once, in the order in which they were given."""
    return list(dict.fromkeys(name.strip() for name in value.split(",")))
