"""Tracks and their notes -> the notation of each part: instrument, names, number of staves.

A wind player plays one note at a time. A wind track with chords is a section whose parts the model
did not distinguish: it is written as in a condensed score, at sounding pitch, with its name in the
plural, and on two staves if its notes are both high and low.
"""

import dataclasses
from collections.abc import Sequence

from mt3_model.notes.tracks import Track
from mt3_model.score.clefs import ledger_lines
from mt3_model.score.instruments import (
    DRUM_SECTION,
    WINDS,
    Clef,
    Instrument,
    Transposition,
    instrument_of,
)
from mt3_model.score.meter import TICKS_PER_QUARTER
from mt3_model.score.quantization import QuantizedNote

_SECTION_SHARE = 0.3
"""The share of notes that sound together with others, above which a wind track is a section."""
_SHORTEST_OVERLAP = TICKS_PER_QUARTER // 2
"""Ticks: one player's notes may overlap by less, because the model ends many notes late."""
_WIDE_LEDGER_LINES = 0.6
"""Ledger lines per note, on one staff with the better clef, from which two staves are used."""
_LETTERS = 3
_LONGEST_WORD = 5
"""Letters of words that an abbreviation does not shorten."""
DRUM_SET = Instrument(
    name="Drum Set", abbreviation="D. Set", clefs=(Clef.PERCUSSION,), transposition=Transposition(),
    staves=1, may_use_two_staves=False, may_use_octave_lines=False, section=DRUM_SECTION, place=0,
)  # fmt: skip


def score_order(track: Track) -> tuple[int, int, int]:
    """Return the place of a track in the score."""
    instrument = DRUM_SET if track.is_drum else instrument_of(track.program)
    return instrument.section, instrument.place, track.program


def choose_instruments(
    tracks: Sequence[Track], parts: Sequence[Sequence[QuantizedNote]]
) -> list[Instrument]:
    """Choose the notation of each track.

    Args:
        tracks: The tracks.
        parts: The quantized notes of each.

    Returns:
        The instruments; names that the caller gave replace their own, and equal names have numbers.
    """
    chosen = [_choose(track, notes) for track, notes in zip(tracks, parts, strict=True)]
    named = [
        dataclasses.replace(
            instrument, name=track.name, abbreviation=abbreviate(track.name)
        ) if track.has_own_name else instrument
        for track, instrument in zip(tracks, chosen, strict=True)
    ]  # fmt: skip
    names = [instrument.name for instrument in named]
    return [
        _with_number(instrument, names[: index + 1].count(instrument.name))
        if names.count(instrument.name) > 1
        else instrument
        for index, instrument in enumerate(named)
    ]


def abbreviate(name: str) -> str:
    """Return an abbreviation of a part's name, such as ``Lead Voc.`` for ``Lead Vocals``."""
    return " ".join(
        word if len(word) <= _LONGEST_WORD else f"{word[:_LETTERS]}." for word in name.split()
    )


def _with_number(instrument: Instrument, number: int) -> Instrument:
    return dataclasses.replace(
        instrument,
        name=f"{instrument.name} {number}",
        abbreviation=f"{instrument.abbreviation} {number}",
    )


def _choose(track: Track, notes: Sequence[QuantizedNote]) -> Instrument:
    if track.is_drum:
        return DRUM_SET
    instrument = instrument_of(track.program)
    if track.program in WINDS and _share_of_chords(notes) > _SECTION_SHARE:
        instrument = _as_section(instrument)
    if instrument.may_use_two_staves:
        is_wide = _ledger_lines_of(notes, instrument) > _WIDE_LEDGER_LINES * len(notes)
        instrument = dataclasses.replace(instrument, staves=2 if is_wide else 1)
    return instrument


def _as_section(instrument: Instrument) -> Instrument:
    name = instrument.name.partition(" in ")[0]
    return dataclasses.replace(
        instrument,
        name=f"{name}es" if name.endswith(("x", "s")) else f"{name}s",
        clefs=(Clef.TREBLE, Clef.BASS),
        transposition=Transposition(),
        may_use_two_staves=True,
    )


def _share_of_chords(notes: Sequence[QuantizedNote]) -> float:
    """Return the share of notes that begin while another one continues to sound."""
    sounding_until = -1
    last_start = -1
    together = 0
    for note in notes:
        overlap = sounding_until - note.start
        together += note.start == last_start or overlap >= _SHORTEST_OVERLAP
        last_start = note.start
        sounding_until = max(sounding_until, note.end)
    return together / len(notes)


def _ledger_lines_of(notes: Sequence[QuantizedNote], instrument: Instrument) -> float:
    """Return the ledger lines of all notes on one staff with the better of two clefs."""
    written = [note.pitch - instrument.transposition.total for note in notes]
    return min(
        sum((ledger_lines(pitch, clef) for pitch in written), 0.0)
        for clef in (Clef.TREBLE, Clef.BASS)
    )
