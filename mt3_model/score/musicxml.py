"""A score -> a MusicXML 4.0 file, written with the standard library.

The elements are in the order that the schema requires (https://www.w3.org/2021/06/musicxml40/).
Accidentals, beams and tuplet brackets are written, because not all programs that draw the file
derive them. The rests of a second voice are left out (``forward``): the first voice shows the
rhythm.
"""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from mt3_model.notes.general_midi import PROGRAM_NAMES
from mt3_model.notes.transcription import Transcription
from mt3_model.score.arranging import DEFAULT_BEATS_PER_MINUTE, Part, Score, arrange
from mt3_model.score.instruments import BRACKETED, Clef
from mt3_model.score.meter import TICKS_PER_QUARTER, Bar
from mt3_model.score.note_elements import Accidentals, VoicePlace, add_text, write_voice
from mt3_model.score.percussion import drum_key_name
from mt3_model.score.quantization import QuantizedNote

_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN"'
    ' "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_DRUM_CHANNEL = 10
_CHANNELS = 16
_VOICES_PER_STAFF = 4
"""Voices 1 and 2 are on the first staff, 5 and 6 on the second, as MuseScore numbers them."""
_TEMPO_CHANGE = 0.05
"""The change of tempo that is written for playback. MuseScore 3 prints each, so small ones would
only clutter the page."""
_LONGEST_TITLE = 200
_BEAT_UNITS = {2: "half", 4: "quarter", 8: "eighth"}
_NO_BEAT_NOTE = (
    f"No beat was estimated: written at {DEFAULT_BEATS_PER_MINUTE} beats per minute in 4/4"
)


def printable_title(title: str | None) -> str:
    """Return a title without what XML cannot hold; "Transcription" if nothing is left.

    It is one line of words with single spaces between them, and has 200 characters at most, two
    lines of a page.
    """
    spaced = (" " if c.isspace() else c for c in title or "")
    printable = " ".join("".join(c for c in spaced if c.isprintable()).split())
    return printable[:_LONGEST_TITLE] or "Transcription"


def to_musicxml(transcription: Transcription, *, title: str | None = None) -> bytes:
    """Write a transcription as MusicXML.

    Args:
        transcription: The transcription; its `musical_time` gives the beats and bars.
        title: The title of the score, usually the recording's name.
    """
    return write_musicxml(
        arrange(transcription.notes, transcription.musical_time), title=printable_title(title),
        software=f"MT3 {transcription.model.code_version}",
    )  # fmt: skip


def write_musicxml(score: Score, *, title: str, software: str) -> bytes:
    """Write a score as MusicXML.

    Args:
        score: The score to write.
        title: The title of the score.
        software: The program that wrote the file.
    """
    root = Element("score-partwise", version="4.0")
    add_text(SubElement(root, "work"), "work-title", title)
    identification = SubElement(root, "identification")
    encoding = SubElement(identification, "encoding")
    add_text(encoding, "software", software)
    for element in ("accidental", "beam", "stem"):
        kind = "no" if element == "stem" else "yes"
        SubElement(encoding, "supports", element=element, type=kind)
    if score.left_out:
        field = SubElement(SubElement(identification, "miscellaneous"), "miscellaneous-field")
        field.set("name", "notes left out")
        field.text = ", ".join(score.left_out)
    _write_part_list(root, score.parts)
    for number, part in enumerate(score.parts):
        _PartWriter(score, part, number).write(root)
    if not score.parts:
        _write_empty_part(root, score)
    return _DOCTYPE.encode() + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _write_part_list(root: Element, parts: Sequence[Part]) -> None:
    part_list = SubElement(root, "part-list")
    sections = [part.instrument.section for part in parts]
    for number, part in enumerate(parts):
        section = sections[number]
        is_bracketed = section in BRACKETED and sections.count(section) > 1
        if is_bracketed and sections.index(section) == number:
            group = SubElement(part_list, "part-group", type="start", number="1")
            add_text(group, "group-symbol", "bracket")
            add_text(group, "group-barline", "yes")
        _write_score_part(part_list, part, number)
        if is_bracketed and (number + 1 == len(parts) or sections[number + 1] != section):
            SubElement(part_list, "part-group", type="stop", number="1")
    if not parts:
        add_text(SubElement(part_list, "score-part", id="P1"), "part-name", "Music")


def _write_score_part(part_list: Element, part: Part, number: int) -> None:
    part_id = f"P{number + 1}"
    element = SubElement(part_list, "score-part", id=part_id)
    add_text(element, "part-name", part.instrument.name)
    add_text(element, "part-abbreviation", part.instrument.abbreviation)
    if part.is_drum:
        keys = sorted({n.pitch for n in _notes_of(part)})
        ids = {f"{part_id}-I{key}": key for key in keys}
        for instrument_id, key in ids.items():
            instrument = SubElement(element, "score-instrument", id=instrument_id)
            add_text(instrument, "instrument-name", drum_key_name(key))
        for instrument_id, key in ids.items():
            midi = SubElement(element, "midi-instrument", id=instrument_id)
            add_text(midi, "midi-channel", _DRUM_CHANNEL)
            add_text(midi, "midi-program", 1)
            add_text(midi, "midi-unpitched", key + 1)
        return
    instrument = SubElement(element, "score-instrument", id=f"{part_id}-I1")
    add_text(instrument, "instrument-name", PROGRAM_NAMES[part.program])
    midi = SubElement(element, "midi-instrument", id=f"{part_id}-I1")
    channel = number % (_CHANNELS - 1) + 1
    add_text(midi, "midi-channel", channel + (channel >= _DRUM_CHANNEL))
    add_text(midi, "midi-program", part.program + 1)


def _notes_of(part: Part) -> Iterator[QuantizedNote]:
    return (
        note
        for staff in part.staves
        for voice in staff.voices
        for bar in voice
        for symbol in bar
        for note in symbol.notes
    )


def _write_empty_part(root: Element, score: Score) -> None:
    part = SubElement(root, "part", id="P1")
    measure = SubElement(part, "measure", number="1")
    attributes = SubElement(measure, "attributes")
    add_text(attributes, "divisions", TICKS_PER_QUARTER)
    _write_time(attributes, score)
    _write_clef(attributes, Clef.TREBLE, None)
    _write_words(measure, "No notes were found")
    note = SubElement(measure, "note")
    SubElement(note, "rest", measure="yes")
    add_text(note, "duration", score.meter.bar)
    add_text(note, "voice", 1)


def _write_time(attributes: Element, score: Score) -> None:
    time = SubElement(attributes, "time")
    add_text(time, "beats", score.meter.time_signature.numerator)
    add_text(time, "beat-type", score.meter.time_signature.denominator)


def _write_clef(attributes: Element, clef: Clef, staff: int | None) -> None:
    element = SubElement(attributes, "clef")
    if staff is not None:
        element.set("number", str(staff))
    sign, line = clef.value
    add_text(element, "sign", sign)
    if line is not None:
        add_text(element, "line", line)


def _write_words(measure: Element, words: str) -> None:
    direction = SubElement(measure, "direction", placement="above")
    add_text(SubElement(direction, "direction-type"), "words", words)


def _tempo_changes(tempos: Sequence[float]) -> frozenset[int]:
    """Return the bars whose tempo differs from the one that was written last."""
    changes = [0]
    for bar, tempo in enumerate(tempos):
        if abs(tempo / tempos[changes[-1]] - 1) > _TEMPO_CHANGE:
            changes.append(bar)
    return frozenset(changes)


class _PartWriter:
    """Writes the measures of one part."""

    def __init__(self, score: Score, part: Part, number: int) -> None:
        self._score = score
        self._part = part
        self._is_first = number == 0
        self._tempo_changes = _tempo_changes(score.tempos)
        self._id = f"P{number + 1}"

    def write(self, root: Element) -> None:
        element = SubElement(root, "part", id=self._id)
        for bar in self._score.bars:
            number = str(self._score.first_number + bar.index)
            measure = SubElement(element, "measure", number=number)
            if bar.start < self._score.meter.pickup:
                measure.set("implicit", "yes")
            self._write_attributes(measure, bar)
            if self._is_first:
                self._write_tempo(measure, bar)
            self._write_voices(measure, bar)
            if bar.end == self._score.end:
                barline = SubElement(measure, "barline", location="right")
                add_text(barline, "bar-style", "light-heavy")

    def _write_attributes(self, measure: Element, bar: Bar) -> None:
        staves = self._part.staves
        changed = [
            index
            for index, staff in enumerate(staves)
            if bar.index == 0 or staff.clefs[bar.index] != staff.clefs[bar.index - 1]
        ]
        if not changed:
            return
        attributes = SubElement(measure, "attributes")
        if bar.index == 0:
            add_text(attributes, "divisions", TICKS_PER_QUARTER)
            add_text(SubElement(attributes, "key"), "fifths", self._part.fifths)
            _write_time(attributes, self._score)
            if len(staves) > 1:
                add_text(attributes, "staves", len(staves))
        for index in changed:
            number = index + 1 if len(staves) > 1 else None
            _write_clef(attributes, staves[index].clefs[bar.index], number)
        transposition = self._part.instrument.transposition
        if bar.index == 0 and transposition.total:
            transpose = SubElement(attributes, "transpose")
            add_text(transpose, "diatonic", transposition.steps)
            add_text(transpose, "chromatic", transposition.semitones)
            if transposition.octaves:
                add_text(transpose, "octave-change", transposition.octaves)

    def _write_tempo(self, measure: Element, bar: Bar) -> None:
        tempos = self._score.tempos
        tempo = tempos[bar.index]
        if bar.start:
            if bar.index in self._tempo_changes:
                SubElement(measure, "sound", tempo=f"{tempo:.0f}")
            return
        signature = self._score.meter.time_signature
        direction = SubElement(measure, "direction", placement="above")
        metronome = SubElement(SubElement(direction, "direction-type"), "metronome")
        add_text(
            metronome,
            "beat-unit",
            "quarter" if signature.is_compound else _BEAT_UNITS[signature.denominator],
        )
        if signature.is_compound:
            SubElement(metronome, "beat-unit-dot")
        add_text(metronome, "per-minute", round(self._score.beats_per_minute))
        SubElement(direction, "sound", tempo=f"{tempo:.2f}")
        if self._score.is_swing:
            _write_words(measure, "Swing")
        if not self._score.has_musical_time:
            _write_words(measure, _NO_BEAT_NOTE)

    def _write_voices(self, measure: Element, bar: Bar) -> None:
        part = self._part
        is_begun = False
        for number, staff in enumerate(part.staves):
            accidentals = Accidentals(part.fifths)
            for index, voice in enumerate(staff.voices):
                symbols = voice[bar.index]
                if index and symbols[0].is_bar_rest:
                    continue
                if is_begun:
                    backup = SubElement(measure, "backup")
                    add_text(backup, "duration", bar.end - bar.start)
                is_begun = True
                place = VoicePlace(
                    voice=number * _VOICES_PER_STAFF + index + 1,
                    staff=number + 1 if len(part.staves) > 1 else None,
                    is_second=index > 0,
                    stem=("up", "down")[index] if part.is_drum else None,
                    octave_lines=() if index else staff.octave_lines,
                )
                write_voice(
                    measure, symbols, part=part, part_id=self._id, place=place,
                    accidentals=accidentals, meter=self._score.meter,
                )  # fmt: skip
