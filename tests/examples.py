"""Numbers of examples of property tests: all by default, a fifth in `make check`."""

import hypothesis

_HYPOTHESIS_DEFAULT = 100


def examples(count: int) -> int:
    """Return how many examples a test draws, in proportion to the profile's number.

    Args:
        count: the number in ``make test``, whose profile has Hypothesis's default of 100.
    """
    scale = hypothesis.settings.default.max_examples / _HYPOTHESIS_DEFAULT
    return max(1, round(count * scale))
