"""The option that chooses the clean-up steps, apart from the code that runs them.

`TranscriptionOptions` holds it, so it lies below `mt3_model/postprocessing`.
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
_SHOWN_CHARACTERS = 100


def parse_postprocess(value: str) -> tuple[PostprocessStep, ...]:
    """Read ``default``, ``none`` or step names separated by commas.

    Returns:
        The steps in the order in which they run, each once.

    Raises:
        OptionError: a name is unknown.
    """
    if value == "default":
        return DEFAULT_STEPS
    if value == "none":
        return ()
    names = {name.strip() for name in value.split(",")}
    if not names <= set(POSTPROCESS_STEPS):
        shown = value[:_SHOWN_CHARACTERS]
        raise OptionError(
            "postprocess", f"postprocess is {shown!r}; expected {EXPECTED_POSTPROCESS}"
        )
    return tuple(step for step in POSTPROCESS_STEPS if step in names)


def normalize_postprocess(value: str) -> str:
    """Return the option as it is applied: named steps in the order in which they run, each once.

    Raises:
        OptionError: a name is unknown.
    """
    if value in ("default", "none"):
        return value
    return ",".join(parse_postprocess(value))
