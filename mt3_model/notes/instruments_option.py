"""The option ``instruments``: the instruments in the recording, as listed by the caller.

`TranscriptionOptions` holds it as the caller wrote it; `parse_instruments` interprets it. Each
name is a General MIDI program number (0-127), a program's name, a family's name, or ``drums``.
Names are compared without case and punctuation: ``acoustic guitar nylon`` names the program
``Acoustic Guitar (nylon)``.
"""

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable, Mapping

from mt3_model.errors import OptionError
from mt3_model.notes.general_midi import (
    FAMILY_NAMES,
    PROGRAM_NAMES,
    PROGRAMS_PER_FAMILY,
)

DRUMS = "drums"
"""The name that stands for all drums and percussion keys."""
EXPECTED_INSTRUMENTS = (
    "General MIDI program numbers (0 to 127), program names such as violin,"
    f" families ({', '.join(name.lower() for name in FAMILY_NAMES)}) or {DRUMS}"
)
"""The values of the option, for messages."""
MAX_INSTRUMENTS = 200
"""Maximum number of names of one request: all programs, all families, drums, and some more."""
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_MOST_SUGGESTIONS = 3
_SHOWN_CHARACTERS = 100


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NamedInstruments:
    """The instruments of a recording, as the caller named them."""

    programs: tuple[int, ...]
    """The programs named one by one, ascending."""
    families: tuple[int, ...]
    """The families named as a whole, ascending: indices of `FAMILY_NAMES`."""
    has_drums: bool

    @property
    def allowed_programs(self) -> frozenset[int]:
        """The programs that notes may have."""
        return frozenset(self.programs).union(*(programs_of(family) for family in self.families))


def programs_of(family: int) -> range:
    """Return the programs of a family."""
    first = family * PROGRAMS_PER_FAMILY
    return range(first, first + PROGRAMS_PER_FAMILY)


def split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Split values at commas; each name is stripped, and returned once."""
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


@functools.lru_cache(maxsize=256)
def parse_instruments(names: tuple[str, ...]) -> NamedInstruments | None:
    """Read names of instruments.

    Args:
        names: the option's values; each may hold several names separated by commas.

    Returns:
        The instruments; None if there are no names, so that every instrument is possible.

    Raises:
        OptionError: a name is unknown; the message suggests the names nearest to it.
    """
    split = split_names(names)
    if not names:
        return None
    if not 0 < len(split) <= MAX_INSTRUMENTS:
        raise OptionError(
            "instruments",
            f"instruments has {len(split)} names; expected 1 to {MAX_INSTRUMENTS}:"
            f" {EXPECTED_INSTRUMENTS}",
        )
    unknown = find_unknown(split)
    if unknown is not None:
        raise OptionError(
            "instruments",
            f"instruments is {unknown[:_SHOWN_CHARACTERS]!r}; {describe_expected(unknown)}",
        )
    programs: set[int] = set()
    families: set[int] = set()
    has_drums = False
    for name in split:
        key = _key(name)
        if key == DRUMS:
            has_drums = True
        elif key in _families():
            families.add(_families()[key])
        else:
            programs.add(_find_program(name) or 0)
    return NamedInstruments(
        programs=tuple(sorted(programs)), families=tuple(sorted(families)), has_drums=has_drums
    )


def find_unknown(names: Iterable[str]) -> str | None:
    """Return the first name that stands for no instrument."""
    for name in names:
        key = _key(name)
        if key != DRUMS and key not in _families() and _find_program(name) is None:
            return name
    return None


def describe_expected(unknown: str) -> str:
    """Describe what was expected instead of an unknown name, with the names nearest to it."""
    near = _suggest(_key(unknown[:_SHOWN_CHARACTERS]))
    question = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"expected {EXPECTED_INSTRUMENTS}{question}"


def _find_program(name: str) -> int | None:
    """Return the program that a number or a name stands for."""
    if _NUMBER.fullmatch(name):
        return int(name) if int(name) < len(PROGRAM_NAMES) else None
    return _names().get(_key(name))


def _suggest(key: str) -> list[str]:
    """Return known names that share a word's beginning with an unknown one, or look like it."""
    shown = {
        DRUMS: DRUMS,
        **{_key(name): name.lower() for name in FAMILY_NAMES},
        **{_key(name): name for name in PROGRAM_NAMES},
    }
    alike = difflib.get_close_matches(key, shown, n=_MOST_SUGGESTIONS, cutoff=0.75)
    beginnings = [word[:4] for word in key.split() if len(word) > 2]  # noqa: PLR2004 (no "of")
    sharing = [
        known
        for known in shown
        if any(
            word.startswith(beginning) or (len(word) > 2 and beginning.startswith(word))  # noqa: PLR2004
            for word in known.split()
            for beginning in beginnings
        )
    ]
    return [shown[known] for known in dict.fromkeys([*sharing, *alike])][:_MOST_SUGGESTIONS]


def _key(name: str) -> str:
    """Return a name without case and punctuation."""
    return " ".join(re.findall(r"[a-z0-9]+", name.casefold()))


@functools.cache
def _families() -> Mapping[str, int]:
    return {_key(name): family for family, name in enumerate(FAMILY_NAMES)}


@functools.cache
def _names() -> Mapping[str, int]:
    return {_key(name): program for program, name in enumerate(PROGRAM_NAMES)}
