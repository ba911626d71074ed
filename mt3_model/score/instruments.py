"""The notation of each General MIDI program: name, clef, transposition, staves.

Transpositions and score order follow Gould, Behind Bars (Faber, 2011), and Adler, The Study of
Orchestration (4th edition, 2016): winds, brass, percussion, plucked and keyboard instruments,
voices, strings, and the rhythm section last.
"""

import dataclasses
import enum
import re

from mt3_model.notes.general_midi import PROGRAM_NAMES, PROGRAMS_PER_FAMILY


class Clef(enum.Enum):
    """A clef: its sign and line in MusicXML."""

    TREBLE = ("G", 2)
    ALTO = ("C", 3)
    TENOR = ("C", 4)
    BASS = ("F", 4)
    PERCUSSION = ("percussion", None)

    @property
    def middle(self) -> int:
        """The MIDI pitch on the middle line, without accidental."""
        return _MIDDLE_PITCHES[self]


_MIDDLE_PITCHES = {
    Clef.TREBLE: 71, Clef.ALTO: 60, Clef.TENOR: 57, Clef.BASS: 50, Clef.PERCUSSION: 71,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transposition:
    """The interval from the written to the sounding pitch."""

    semitones: int = 0
    """Without the octaves: -2 for instruments in B flat."""
    steps: int = 0
    """The same in steps of the scale: -1 for instruments in B flat."""
    octaves: int = 0

    @property
    def total(self) -> int:
        """Semitones from the written to the sounding pitch."""
        return self.semitones + 12 * self.octaves

    @property
    def fifths(self) -> int:
        """Steps on the line of fifths from the sounding to the written pitch.

        An interval of s steps and c semitones is 7 c - 12 s fifths.
        """
        return -(7 * self.semitones - 12 * self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """The notation of an instrument."""

    name: str
    abbreviation: str
    clefs: tuple[Clef, ...]
    """The clefs that players of the instrument read, the usual first."""
    transposition: Transposition
    staves: int
    """2 for keyboard instruments and the harp."""
    may_use_two_staves: bool
    """Whether the number of staves depends on the notes: two if they are both high and low."""
    may_use_octave_lines: bool
    """Whether its high notes may be written under an 8va line: players of winds and bowed strings
    read ledger lines (Gould, page 28)."""
    section: int
    """The place of its family in a score, and the bracket it is under."""
    place: int
    """Its place within the family, from the highest instrument to the lowest."""


_IN_C = Transposition()
_OCTAVE_UP, _OCTAVE_DOWN = Transposition(octaves=1), Transposition(octaves=-1)
_TWO_OCTAVES_UP = Transposition(octaves=2)
_IN_B_FLAT = Transposition(semitones=-2, steps=-1)
_IN_LOW_B_FLAT = Transposition(semitones=-2, steps=-1, octaves=-1)
_IN_E_FLAT = Transposition(semitones=-9, steps=-5)
_IN_LOW_E_FLAT = Transposition(semitones=-9, steps=-5, octaves=-1)
_IN_F = Transposition(semitones=-7, steps=-4)
_TREBLE = (Clef.TREBLE, Clef.BASS)
_LOW_STRING = (Clef.BASS, Clef.TENOR, Clef.TREBLE)
_VIOLA = (Clef.ALTO, Clef.TREBLE)

(
    _PIPES, _REEDS, _BRASS, _TIMPANI, _MALLETS, _PLUCKED, _KEYBOARDS, _SYNTHS, _VOICES, _STRINGS,
    _BASSES, DRUM_SECTION,
) = range(12)  # fmt: skip
BRACKETED = frozenset({_PIPES, _REEDS, _BRASS, _STRINGS})
"""The sections whose parts are joined by a bracket."""

_FAMILY_SECTIONS = (
    _KEYBOARDS, _MALLETS, _KEYBOARDS, _PLUCKED, _BASSES, _STRINGS, _STRINGS, _BRASS, _REEDS,
    _PIPES, _SYNTHS, _SYNTHS, _SYNTHS, _PLUCKED, _MALLETS, _SYNTHS,
)  # fmt: skip
_TWO_STAVES = frozenset({*range(7), 46})
"""Pianos, harpsichord and harp."""
_SOMETIMES_TWO_STAVES = frozenset(
    {7, 8, *range(16, 22), 44, 45, *range(48, 55), *range(61, 64), *range(80, 104)}
)
"""Clavinet, celesta, organs, accordion, ensembles of strings, voices and brass, synthesizers."""

# Program: name, abbreviation, clefs, transposition and place of the instruments that differ from
# what their family has.
_SPECIAL: dict[int, tuple[str, str, tuple[Clef, ...], Transposition, int]] = {
    0: ("Piano", "Pno.", _TREBLE, _IN_C, 0),
    4: ("Electric Piano", "E. Pno.", _TREBLE, _IN_C, 4),
    5: ("Electric Piano", "E. Pno.", _TREBLE, _IN_C, 5),
    8: ("Celesta", "Cel.", _TREBLE, _OCTAVE_UP, 0),
    9: ("Glockenspiel", "Glock.", _TREBLE, _TWO_OCTAVES_UP, 1),
    13: ("Xylophone", "Xyl.", _TREBLE, _OCTAVE_UP, 2),
    11: ("Vibraphone", "Vib.", _TREBLE, _IN_C, 3),
    12: ("Marimba", "Mar.", _TREBLE, _IN_C, 4),
    24: ("Acoustic Guitar", "Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 0),
    25: ("Acoustic Guitar", "Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 1),
    26: ("Electric Guitar", "E. Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 2),
    27: ("Electric Guitar", "E. Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 3),
    28: ("Electric Guitar", "E. Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 4),
    29: ("Overdriven Guitar", "E. Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 5),
    30: ("Distortion Guitar", "E. Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 6),
    31: ("Guitar Harmonics", "Guit.", (Clef.TREBLE,), _OCTAVE_DOWN, 7),
    32: ("Double Bass", "D. B.", (Clef.BASS,), _OCTAVE_DOWN, 0),
    40: ("Violin", "Vln.", (Clef.TREBLE,), _IN_C, 0),
    41: ("Viola", "Vla.", _VIOLA, _IN_C, 1),
    42: ("Cello", "Vc.", _LOW_STRING, _IN_C, 2),
    43: ("Contrabass", "Cb.", _LOW_STRING, _OCTAVE_DOWN, 3),
    46: ("Harp", "Hp.", _TREBLE, _IN_C, 8),
    47: ("Timpani", "Timp.", (Clef.BASS,), _IN_C, 0),
    48: ("Strings", "Str.", _TREBLE, _IN_C, 6),
    49: ("Strings", "Str.", _TREBLE, _IN_C, 7),
    52: ("Choir", "Ch.", _TREBLE, _IN_C, 0),
    53: ("Voice", "V.", _TREBLE, _IN_C, 1),
    54: ("Synth Voice", "V.", _TREBLE, _IN_C, 2),
    56: ("Trumpet in B♭", "Tpt.", (Clef.TREBLE,), _IN_B_FLAT, 1),
    57: ("Trombone", "Tbn.", (Clef.BASS, Clef.TENOR), _IN_C, 3),
    58: ("Tuba", "Tba.", (Clef.BASS,), _IN_C, 4),
    59: ("Muted Trumpet in B♭", "Tpt.", (Clef.TREBLE,), _IN_B_FLAT, 2),
    60: ("Horn in F", "Hn.", _TREBLE, _IN_F, 0),
    64: ("Soprano Sax", "S. Sax.", (Clef.TREBLE,), _IN_B_FLAT, 4),
    65: ("Alto Sax", "A. Sax.", (Clef.TREBLE,), _IN_E_FLAT, 5),
    66: ("Tenor Sax", "T. Sax.", (Clef.TREBLE,), _IN_LOW_B_FLAT, 6),
    67: ("Baritone Sax", "B. Sax.", (Clef.TREBLE,), _IN_LOW_E_FLAT, 7),
    68: ("Oboe", "Ob.", (Clef.TREBLE,), _IN_C, 0),
    69: ("English Horn", "E. Hn.", (Clef.TREBLE,), _IN_F, 1),
    70: ("Bassoon", "Bsn.", (Clef.BASS, Clef.TENOR), _IN_C, 8),
    71: ("Clarinet in B♭", "Cl.", (Clef.TREBLE,), _IN_B_FLAT, 3),
    61: ("Brass", "Brs.", _TREBLE, _IN_C, 5),
    72: ("Piccolo", "Picc.", (Clef.TREBLE,), _OCTAVE_UP, 0),
    73: ("Flute", "Fl.", (Clef.TREBLE,), _IN_C, 1),
    74: ("Recorder", "Rec.", (Clef.TREBLE,), _IN_C, 2),
    105: ("Banjo", "Bjo.", (Clef.TREBLE,), _OCTAVE_DOWN, 8),
}  # fmt: skip
_SECTION_EXCEPTIONS = {46: _PLUCKED, 47: _TIMPANI, 52: _VOICES, 53: _VOICES, 54: _VOICES}
_WITHOUT_OCTAVE_LINES = frozenset({_PIPES, _REEDS, _BRASS, _TIMPANI, _VOICES, _STRINGS})
WINDS = frozenset({*range(56, 61), *range(64, 80)})
"""The programs of single wind players, who play one note at a time."""
_FAMILY_PART_NAMES = {10: "Synth Lead", 11: "Synth Pad", 12: "Synth Effect"}
_FAMILY_ABBREVIATIONS = {2: "Org.", 10: "Lead", 11: "Pad", 12: "FX"}
_ABBREVIATIONS = {
    1: "Pno.", 2: "E. Gr.", 3: "H.-t. Pno.", 6: "Hpschd.", 7: "Clav.", 10: "M. Box", 14: "T. B.",
    15: "Dulc.", 21: "Acc.", 22: "Harm.", 23: "Acc.", 44: "Str.", 45: "Str.", 50: "Syn. Str.",
    51: "Syn. Str.", 62: "Syn. Brs.", 63: "Syn. Brs.", 75: "Pan Fl.", 79: "Oc.",
}  # fmt: skip
_ABBREVIATION_LETTERS = 3


def instrument_of(program: int) -> Instrument:
    """Return the notation of the instrument of a General MIDI program, 0-127."""
    family, within = divmod(program, PROGRAMS_PER_FAMILY)
    section = _SECTION_EXCEPTIONS.get(program, _FAMILY_SECTIONS[family])
    name = _FAMILY_PART_NAMES.get(family) or re.sub(r" \d| \(.*", "", PROGRAM_NAMES[program])
    abbreviation = (
        _ABBREVIATIONS.get(program)
        or _FAMILY_ABBREVIATIONS.get(family)
        or " ".join(f"{word[:_ABBREVIATION_LETTERS]}." for word in name.split())
    )
    clefs = (Clef.BASS,) if section == _BASSES else _TREBLE
    transposition = _OCTAVE_DOWN if section == _BASSES else _IN_C
    place = within
    if program in _SPECIAL:
        name, abbreviation, clefs, transposition, place = _SPECIAL[program]
    elif section == _BASSES:
        abbreviation = "Bass"
    return Instrument(
        name=name,
        abbreviation=abbreviation,
        clefs=clefs,
        transposition=transposition,
        staves=2 if program in _TWO_STAVES else 1,
        may_use_two_staves=program in _SOMETIMES_TWO_STAVES,
        may_use_octave_lines=section not in _WITHOUT_OCTAVE_LINES,
        section=section,
        place=place,
    )
