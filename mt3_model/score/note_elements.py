"""The chords and rests of one voice -> the ``note`` elements of MusicXML.

The children of a ``note`` are in the schema's order: chord, pitch, duration, tie, instrument,
voice, type, dot, accidental, time-modification, stem, notehead, staff, beam, notations.
"""

import dataclasses
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from mt3_model.score.arranging import Part
from mt3_model.score.measures import Symbol, beam_groups, flags
from mt3_model.score.meter import Meter
from mt3_model.score.octave_lines import OctaveLine
from mt3_model.score.percussion import drum_position
from mt3_model.score.quantization import QuantizedNote
from mt3_model.score.spelling import SpelledPitch, key_alterations, to_spelled_pitch

_ACCIDENTAL_NAMES = {
    -3: "three-flats", -2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp",
    3: "triple-sharp",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VoicePlace:
    """The position of a voice in its part."""

    voice: int
    """The number of the voice in the part."""
    staff: int | None
    """The number of the staff, from 1; None in a part of one staff."""
    is_second: bool
    """Whether it is the lower voice of its staff, whose rests are left out."""
    stem: str | None
    """The direction of its stems; None to let the reader's program choose."""
    octave_lines: tuple[OctaveLine, ...] = ()
    """The 8va and 8vb lines that begin or end in the voice."""


class Accidentals:
    """The accidentals in force on one staff in one bar."""

    def __init__(self, fifths: int) -> None:
        self._key = key_alterations(fifths)
        self._in_force: dict[tuple[str, int], int] = {}

    def needed_by(self, pitch: SpelledPitch, *, is_tied_from: bool) -> bool:
        """Return whether a note needs an accidental, and remember it.

        A note tied from the bar before needs none, and its accidental does not hold for others.
        """
        key = pitch.step, pitch.octave
        current = self._in_force.get(key, self._key[pitch.step])
        if is_tied_from or current == pitch.alter:
            return False
        self._in_force[key] = pitch.alter
        return True


def write_voice(
    measure: Element,
    symbols: Sequence[Symbol],
    *,
    part: Part,
    part_id: str,
    place: VoicePlace,
    accidentals: Accidentals,
    meter: Meter,
) -> None:
    """Write the symbols of one voice in one bar.

    Args:
        measure: The element to append to.
        symbols: The chords and rests, which fill the bar.
        part: The part of the voice.
        part_id: The part's id in the file.
        place: The voice and staff.
        accidentals: The accidentals in force on the staff, shared by its voices.
        meter: The meter, which groups beams.
    """
    beams = _beams(symbols, meter)
    for index, symbol in enumerate(symbols):
        for line in place.octave_lines:
            if line.start == symbol.start:
                _write_octave_shift(measure, line, place, "down" if line.is_up else "up")
        if symbol.notes:
            chord = _Chord(symbol, part, part_id, place, tuple(beams.get(index, ())))
            _write_chord(measure, chord, accidentals)
        else:
            _write_rest(measure, symbol, place)
        for line in place.octave_lines:
            if line.end == symbol.end:
                _write_octave_shift(measure, line, place, "stop")


@dataclasses.dataclass(frozen=True, slots=True)
class _Chord:
    """The notation of one chord."""

    symbol: Symbol
    part: Part
    part_id: str
    place: VoicePlace
    beams: tuple[str, ...]


def _write_chord(measure: Element, chord: _Chord, accidentals: Accidentals) -> None:
    symbol, part, place = chord.symbol, chord.part, chord.place
    for order, note in enumerate(symbol.notes):
        element = SubElement(measure, "note")
        if order:
            SubElement(element, "chord")
        accidental = _write_pitch(element, symbol, note, part, accidentals)
        _write_duration(element, symbol)
        if part.is_drum:
            SubElement(element, "instrument", id=f"{chord.part_id}-I{note.pitch}")
        _write_value(element, symbol, place, accidental)
        if part.is_drum and drum_position(note.pitch).head != "normal":
            add_text(element, "notehead", drum_position(note.pitch).head)
        if place.staff is not None:
            add_text(element, "staff", place.staff)
        for level, kind in enumerate(chord.beams if order == 0 else (), start=1):
            add_text(element, "beam", kind).set("number", str(level))
        _write_notations(element, symbol, is_first=order == 0)


def _write_octave_shift(measure: Element, line: OctaveLine, place: VoicePlace, kind: str) -> None:
    """Write where a line begins or ends; ``kind`` says where the notes go, so ``down`` for 8va."""
    direction = SubElement(measure, "direction", placement="above" if line.is_up else "below")
    SubElement(SubElement(direction, "direction-type"), "octave-shift", type=kind, size="8")
    if place.staff is not None:
        add_text(direction, "staff", place.staff)


def add_text(parent: Element, name: str, text: object) -> Element:
    """Append an element with a text."""
    child = SubElement(parent, name)
    child.text = str(text)
    return child


def _write_rest(measure: Element, symbol: Symbol, place: VoicePlace) -> None:
    if place.is_second and symbol.tuplet is None:
        forward = SubElement(measure, "forward")
        add_text(forward, "duration", symbol.duration)
        add_text(forward, "voice", place.voice)
        if place.staff is not None:
            add_text(forward, "staff", place.staff)
        return
    element = SubElement(measure, "note")
    rest = SubElement(element, "rest")
    if symbol.is_bar_rest:
        rest.set("measure", "yes")
    add_text(element, "duration", symbol.duration)
    if symbol.is_bar_rest:
        add_text(element, "voice", place.voice)
    else:
        _write_value(element, symbol, dataclasses.replace(place, stem=None), None)
    if place.staff is not None:
        add_text(element, "staff", place.staff)
    _write_notations(element, symbol, is_first=True)


def _write_pitch(
    element: Element,
    symbol: Symbol,
    note: QuantizedNote,
    part: Part,
    accidentals: Accidentals,
) -> str | None:
    """Write a note's pitch or place on the staff; returns the accidental that it needs."""
    if part.is_drum:
        position = drum_position(note.pitch)
        unpitched = SubElement(element, "unpitched")
        add_text(unpitched, "display-step", position.step)
        add_text(unpitched, "display-octave", position.octave)
        return None
    written = note.pitch - part.instrument.transposition.total
    spelled = to_spelled_pitch(written, part.points[note.start, note.pitch])
    pitch = SubElement(element, "pitch")
    add_text(pitch, "step", spelled.step)
    if spelled.alter:
        add_text(pitch, "alter", spelled.alter)
    add_text(pitch, "octave", spelled.octave)
    if accidentals.needed_by(spelled, is_tied_from=symbol.is_tied_from):
        return _ACCIDENTAL_NAMES[spelled.alter]
    return None


def _write_duration(element: Element, symbol: Symbol) -> None:
    add_text(element, "duration", symbol.duration)
    if symbol.is_tied_from:
        SubElement(element, "tie", type="stop")
    if symbol.is_tied_to:
        SubElement(element, "tie", type="start")


def _write_value(
    element: Element, symbol: Symbol, place: VoicePlace, accidental: str | None
) -> None:
    add_text(element, "voice", place.voice)
    add_text(element, "type", symbol.value)
    for _ in range(symbol.dots):
        SubElement(element, "dot")
    if accidental is not None:
        add_text(element, "accidental", accidental)
    if symbol.tuplet is not None:
        modification = SubElement(element, "time-modification")
        add_text(modification, "actual-notes", symbol.tuplet.actual)
        add_text(modification, "normal-notes", symbol.tuplet.normal)
    if place.stem is not None:
        add_text(element, "stem", place.stem)


def _write_notations(element: Element, symbol: Symbol, *, is_first: bool) -> None:
    tuplet = symbol.tuplet if is_first else None
    is_edge = tuplet is not None and (tuplet.is_first or tuplet.is_last)
    if not (symbol.is_tied_from or symbol.is_tied_to or is_edge):
        return
    notations = SubElement(element, "notations")
    if symbol.is_tied_from:
        SubElement(notations, "tied", type="stop")
    if symbol.is_tied_to:
        SubElement(notations, "tied", type="start")
    if tuplet is not None and tuplet.is_first:
        SubElement(notations, "tuplet", type="start", number="1", bracket="yes")
    if tuplet is not None and tuplet.is_last:
        SubElement(notations, "tuplet", type="stop", number="1")


def _beams(symbols: Sequence[Symbol], meter: Meter) -> dict[int, list[str]]:
    """Return the beams of each beamed symbol, the outermost first."""
    beams: dict[int, list[str]] = {}
    for group in beam_groups(symbols, meter):
        counts = [flags(symbols[index]) for index in group]
        for position, index in enumerate(group):
            before = counts[position - 1] if position else 0
            after = counts[position + 1] if position + 1 < len(group) else 0
            beams[index] = [
                _beam(level, before, after, is_first=position == 0)
                for level in range(1, counts[position] + 1)
            ]
    return beams


def _beam(level: int, before: int, after: int, *, is_first: bool) -> str:
    joins_before, joins_after = before >= level, after >= level
    if joins_before and joins_after:
        return "continue"
    if joins_before:
        return "end"
    if joins_after:
        return "begin"
    return "forward hook" if is_first else "backward hook"
