"""A transcription -> a score: parts, staves, voices and bars, before any file format.

seconds      quantization.py   ticks, by the beats of `MusicalTime`
tracks       strays.py         without tracks of a few notes
notes        hands.py          two staves for keyboards
staves       voices.py         chords in at most two voices
voices       measures.py       bars of written values
pitches      spelling.py       names and keys
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mt3_model.notes.beat_positions import times_at
from mt3_model.notes.musical_time import MusicalTime, TimeSignature
from mt3_model.notes.note import NoteSequence
from mt3_model.notes.tracks import Track, group_tracks
from mt3_model.score.clefs import choose_clefs
from mt3_model.score.hands import split_hands
from mt3_model.score.instruments import Clef, Instrument
from mt3_model.score.measures import Symbol, write_bars
from mt3_model.score.meter import Bar, Meter, build_meter
from mt3_model.score.octave_lines import OctaveLine, choose_octave_lines, clip_lines
from mt3_model.score.part_instruments import choose_instruments, score_order
from mt3_model.score.percussion import drum_position, merge_positions
from mt3_model.score.quantization import QuantizedNote, quantize
from mt3_model.score.spelling import estimate_fifths, local_keys, spell
from mt3_model.score.strays import gather_strays
from mt3_model.score.voices import Chord, assign_voices, close_gaps, fill_pulses, to_chords

DEFAULT_BEATS_PER_MINUTE = 120
_SHARPEST = 7
_ENHARMONIC = 12
"""Fifths between a key and the same key with the other accidentals."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Staff:
    """One staff of a part."""

    clefs: tuple[Clef, ...]
    """The clef of each bar."""
    voices: tuple[tuple[tuple[Symbol, ...], ...], ...]
    """One or two voices; of each, the symbols of every bar."""
    octave_lines: tuple[OctaveLine, ...] = ()
    """The 8va and 8vb lines, which begin and end with chords of the first voice."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The written music of one track."""

    instrument: Instrument
    program: int
    is_drum: bool
    fifths: int
    """The written key signature."""
    points: dict[tuple[int, int], int]
    """The written name of each note, by start and sounding pitch: a point on the line of fifths."""
    staves: tuple[Staff, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """All parts of a recording."""

    parts: tuple[Part, ...]
    bars: tuple[Bar, ...]
    meter: Meter
    tempos: tuple[float, ...]
    """The mean tempo of each bar in quarter notes per minute."""
    beats_per_minute: float
    """The tempo mark, in beats of the time signature."""
    is_swing: bool
    has_musical_time: bool
    """False if the tempo and the meter are only assumed."""
    first_number: int
    """The number of the first bar: 0 for a pickup."""
    end: int
    """The tick at which the whole recording's last bar ends."""
    left_out: tuple[str, ...]
    """The notes that got no staff, such as ``2 of Drums``."""


def arrange(notes: NoteSequence, musical_time: MusicalTime | None) -> Score:
    """Arrange notes as a score.

    Args:
        notes: The notes of one recording.
        musical_time: Its beats and bars; None to assume 4/4 at 120 beats per minute.
    """
    time = musical_time or _assumed_time(notes.total_time)
    meter = build_meter(time)
    gathered = gather_strays(group_tracks(notes))
    tracks = sorted(gathered.tracks, key=score_order)
    quantized = quantize([track.notes for track in tracks], time, meter)
    meter, shift, parts = _without_empty_pickup(meter, quantized.parts)
    pitched = [n for t, ns in zip(tracks, parts, strict=True) if not t.is_drum for n in ns]
    home = time.key.fifths if time.key is not None else estimate_fifths(pitched)
    instruments = choose_instruments(tracks, parts)
    voiced = [
        _voices(own, meter, staves=instrument.staves, is_drum=track.is_drum)
        for track, instrument, own in zip(tracks, instruments, parts, strict=True)
    ]
    voiced, end = _without_tail(voiced, meter)
    bars = meter.bars_until(end)
    keys = _local_keys(tracks, parts, len(bars), home, meter)
    written = tuple(
        _write_part(track, instrument, own, staves, _Context(meter, bars, home, keys))
        for track, instrument, own, staves in zip(tracks, instruments, parts, voiced, strict=True)
    )
    return Score(
        parts=written,
        bars=bars,
        meter=meter,
        tempos=_bar_tempos(time, bars, meter, shift),
        beats_per_minute=time.tempo,
        is_swing=quantized.is_swing,
        has_musical_time=musical_time is not None,
        first_number=0 if meter.pickup else 1,
        end=bars[-1].end,
        left_out=gathered.left_out,
    )


def split_score(score: Score, bars_per_section: int) -> list[Score]:
    """Split a score into sections, each a separate score with the same parts.

    Notes tied over the border keep their ties.
    """
    return [
        _section(score, first, first + bars_per_section)
        for first in range(0, len(score.bars), bars_per_section)
    ]


def _section(score: Score, first: int, last: int) -> Score:
    bars = score.bars[first:last]
    parts = tuple(
        dataclasses.replace(
            part,
            staves=tuple(
                Staff(
                    clefs=staff.clefs[first:last],
                    voices=tuple(voice[first:last] for voice in staff.voices),
                    octave_lines=clip_lines(staff.octave_lines, bars[0].start, bars[-1].end),
                )
                for staff in part.staves
            ),
        )
        for part in score.parts
    )
    return dataclasses.replace(
        score,
        parts=parts,
        bars=tuple(dataclasses.replace(bar, index=bar.index - first) for bar in bars),
        tempos=score.tempos[first:last],
        first_number=score.first_number + first,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Context:
    """Data shared by all parts of a score."""

    meter: Meter
    bars: tuple[Bar, ...]
    home: int
    keys: list[int]


def _assumed_time(total_time: float) -> MusicalTime:
    seconds = 60 / DEFAULT_BEATS_PER_MINUTE
    return MusicalTime(
        beat_times=tuple(i * seconds for i in range(int(total_time / seconds) + 3)),
        time_signature=TimeSignature(numerator=4, denominator=4),
        first_downbeat=0,
        key=None,
        tempo_confidence=0.0,
        meter_confidence=0.0,
    )


def _without_empty_pickup(
    meter: Meter, parts: tuple[tuple[QuantizedNote, ...], ...]
) -> tuple[Meter, int, tuple[tuple[QuantizedNote, ...], ...]]:
    """Drop the pickup if nothing starts in it. Returns the ticks that were dropped too."""
    shift = meter.pickup
    if not shift or any(note.start < shift for notes in parts for note in notes):
        return meter, 0, parts
    moved = tuple(
        tuple(
            dataclasses.replace(note, start=note.start - shift, end=note.end - shift)
            for note in notes
        )
        for notes in parts
    )
    return dataclasses.replace(meter, pickup=0), shift, moved


def _voices(
    notes: Sequence[QuantizedNote], meter: Meter, *, staves: int, is_drum: bool
) -> list[list[tuple[Chord, ...]]]:
    """Return the voices of each staff of a track."""
    if is_drum:
        distinct = merge_positions(notes)
        hands = [note for note in distinct if not drum_position(note.pitch).is_foot]
        feet = [note for note in distinct if drum_position(note.pitch).is_foot]
        voices = [fill_pulses(to_chords(own), meter) for own in (hands, feet)]
        return [voices if feet else voices[:1]]
    hands_or_all = split_hands(notes) if staves > 1 else (notes,)
    return [[close_gaps(voice, meter) for voice in assign_voices(own)] for own in hands_or_all]


_Voiced = list[list[list[tuple[Chord, ...]]]]
"""The voices of each staff of each part."""


def _without_tail(voiced: _Voiced, meter: Meter) -> tuple[_Voiced, int]:
    """End the last notes with their bar if what is tied over is short.

    Short means at most half a bar, and less than the part before the bar line. Returns the voices
    and the end of the last note.
    """
    last = [voice[-1] for staves in voiced for staff in staves for voice in staff if voice]
    end = max((chord.end for chord in last), default=0)
    bar = meter.bars_until(end)[-1]
    tied = [chord for chord in last if chord.end > bar.start]
    is_tail = all(chord.end - bar.start < bar.start - chord.start for chord in tied)
    if not is_tail or bar.index == 0 or (end - bar.start) * 2 > meter.bar:
        return voiced, end
    ended = [[[_end_by(voice, bar.start) for voice in staff] for staff in p] for p in voiced]
    return ended, bar.start


def _end_by(voice: tuple[Chord, ...], tick: int) -> tuple[Chord, ...]:
    if not voice or voice[-1].end <= tick:
        return voice
    return (*voice[:-1], dataclasses.replace(voice[-1], end=tick))


def _local_keys(
    tracks: Sequence[Track],
    parts: Sequence[Sequence[QuantizedNote]],
    bars: int,
    home: int,
    meter: Meter,
) -> list[int]:
    pitched = [own for track, own in zip(tracks, parts, strict=True) if not track.is_drum]
    indices = [[meter.bar_index(note.start) for note in own] for own in pitched]
    return local_keys(pitched, indices, bars, home)


def _write_part(
    track: Track,
    instrument: Instrument,
    notes: Sequence[QuantizedNote],
    staves: list[list[tuple[Chord, ...]]],
    context: _Context,
) -> Part:
    shift = instrument.transposition.fifths
    if abs(context.home + shift) > _SHARPEST:
        shift += _ENHARMONIC if context.home + shift < 0 else -_ENHARMONIC
    points: dict[tuple[int, int], int] = {}
    if not track.is_drum:
        own_keys = [context.keys[context.meter.bar_index(note.start)] for note in notes]
        points = {key: point + shift for key, point in spell(notes, own_keys).items()}
    return Part(
        instrument=instrument,
        program=track.program,
        is_drum=track.is_drum,
        fifths=0 if track.is_drum else context.home + shift,
        points=points,
        staves=tuple(
            _write_staff(voices, _staff_clefs(instrument, index), instrument, context)
            for index, voices in enumerate(staves)
        ),
    )


def _staff_clefs(instrument: Instrument, staff: int) -> tuple[Clef, ...]:
    return instrument.clefs if staff == 0 else (Clef.BASS, Clef.TREBLE)


def _write_staff(
    voices: list[tuple[Chord, ...]],
    clefs: tuple[Clef, ...],
    instrument: Instrument,
    context: _Context,
) -> Staff:
    pitches: list[list[int]] = [[] for _ in context.bars]
    for voice in voices:
        for chord in voice:
            bar = pitches[context.meter.bar_index(chord.start)]
            bar += (note.pitch - instrument.transposition.total for note in chord.notes)
    chosen = choose_clefs(pitches, clefs)
    lines: tuple[OctaveLine, ...] = ()
    if instrument.may_use_octave_lines:
        lines = choose_octave_lines(
            voices, chosen, clefs, context.meter, instrument.transposition.total
        )
    return Staff(
        clefs=tuple(chosen),
        voices=tuple(
            tuple(write_bars(voice, context.bars, context.meter)) for voice in voices or [()]
        ),
        octave_lines=lines,
    )


def _bar_tempos(
    time: MusicalTime, bars: Sequence[Bar], meter: Meter, shift: int
) -> tuple[float, ...]:
    """Return the mean tempo of each bar in quarter notes per minute."""
    ticks_per_beat = meter.pulse * meter.pulses_per_beat
    edges = [(bars[0].start + shift) / ticks_per_beat]
    edges += [(bar.end + shift) / ticks_per_beat for bar in bars]
    seconds = times_at(time, np.array(edges))
    return tuple(
        60 * (after - before) * time.time_signature.quarters_per_beat / float(end - start)
        for before, after, start, end in zip(edges, edges[1:], seconds, seconds[1:], strict=False)
    )
