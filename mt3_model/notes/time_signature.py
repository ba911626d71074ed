"""`TimeSignature`, separate from `MusicalTime` because the command line reads it without NumPy."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeSignature:
    """A time signature such as 3/4."""

    numerator: int
    """The beats of a bar for simple meters; for 6/8, 9/8 and 12/8 three times as many."""
    denominator: int
    """2, 4 or 8."""

    @property
    def beats_per_bar(self) -> int:
        """The number of beats in a bar: 2 for 6/8, whose beat is a dotted quarter."""
        return self.numerator // 3 if self.is_compound else self.numerator

    @property
    def is_compound(self) -> bool:
        """Whether each beat divides into three eighths (6/8, 9/8, 12/8)."""
        return self.denominator == 8 and self.numerator % 3 == 0 and self.numerator > 3  # noqa: PLR2004

    @property
    def quarters_per_beat(self) -> float:
        """The length of a beat in quarter notes."""
        return 1.5 if self.is_compound else 4 / self.denominator
