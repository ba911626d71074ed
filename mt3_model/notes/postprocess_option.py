"""The option that chooses the clean-up steps, apart from the code that runs them.

`TranscriptionOptions` holds it, so it lies below `mt3_model/postprocessing`.
"""

from typing import Literal, get_args

from mt3_model.errors import OptionError

PostprocessStep = Literal["bass_octave", "part_octave", "duplicates", "ensemble"]
"""A step of the clean-up. `mt3_model/postprocessing/README.md` describes and measures each."""
POSTPROCESS_STEPS: tuple[PostprocessStep, ...] = get_args(PostprocessStep)
"""All steps, in the order in which they run."""
DEFAULT_POSTPROCESS: tuple[PostprocessStep, ...] = POSTPROCESS_STEPS
"""The steps of ``postprocess=default``."""


def parse_postprocess(text: str) -> tuple[PostprocessStep, ...]:
    """Read ``default``, ``none`` or step names separated by commas.

    Returns:
        The steps in the order in which they run, each once.

    Raises:
        OptionError: A name is unknown.
    """
    match text.strip():
        case "default":
            return DEFAULT_POSTPROCESS
        case "none":
            return ()
        case _:
            names = {name.strip() for name in text.split(",")}
    if not names <= set(POSTPROCESS_STEPS):
        raise OptionError(
            "postprocess",
            f"postprocess is {text[:100]!r}; expected default, none, or some of"
            f" {', '.join(POSTPROCESS_STEPS)} separated by commas",
        )
    return tuple(step for step in POSTPROCESS_STEPS if step in names)
