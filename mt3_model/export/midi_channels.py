"""Assign MIDI ports and channels to tracks, for any number of programs.

A port has fifteen channels besides the drum channel. More programs must share channels, and
programs that read the file differ: some respect ports (sequencers), many ignore them (FluidSynth,
most libraries). Every note must be played with its own program by both:

1. Tracks that share a channel get different ports, so that with ports each channel has one program.
2. Tracks that sound alike share a channel: programs of one General MIDI family first, and among
   them the tracks with the fewest notes.
3. A note-off ends every note of its pitch on its channel. If another track sounds the same pitch on
   the channel, the note moves to a channel on which the pitch is free, preferably one of its
   family. With more than fifteen simultaneous notes of one pitch, the rest are separated by ports
   only, and programs that ignore ports cut some of them short.

`midi.py` repeats the program change wherever another track used the channel in between.
"""

import dataclasses
from collections.abc import Sequence

from mt3_model.notes.general_midi import PROGRAMS_PER_FAMILY

DRUM_CHANNEL = 9
"""General MIDI's channel 10, counted from zero."""
PITCHED_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
_NEVER = (-1, -1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One note, in ticks."""

    start: int
    end: int
    pitch: int
    velocity: int
    channel: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """The notes of one program, or of the drums."""

    program: int
    is_drum: bool
    spans: tuple[Span, ...]
    port: int = 0
    channel: int = 0
    """The channel of the voice; single spans may be moved to other channels."""


def assign_channels(voices: Sequence[Voice]) -> list[Voice]:
    """Return the voices, in order, with a port and channel each and a channel per note."""
    pitched = [number for number, voice in enumerate(voices) if not voice.is_drum]
    assigned = [_assign_channel(voice, port=0, channel=DRUM_CHANNEL) for voice in voices]
    groups = _group_similar(voices, pitched)
    for channel, group in zip(PITCHED_CHANNELS, groups, strict=False):
        for port, number in enumerate(group):
            assigned[number] = _assign_channel(voices[number], port=port, channel=channel)
    if len(pitched) > len(PITCHED_CHANNELS):
        _move_conflicting_notes(assigned, pitched)
    return assigned


def _assign_channel(voice: Voice, *, port: int, channel: int) -> Voice:
    spans = tuple(dataclasses.replace(span, channel=channel) for span in voice.spans)
    return dataclasses.replace(voice, port=port, channel=channel, spans=spans)


def _group_similar(voices: Sequence[Voice], pitched: Sequence[int]) -> list[list[int]]:
    """Group voices, by their numbers, into at most as many groups as there are channels."""
    groups = [[number] for number in pitched]
    while len(groups) > len(PITCHED_CHANNELS):
        groups.sort(key=lambda group: sum(len(voices[number].spans) for number in group))
        smallest: dict[int, list[list[int]]] = {}
        for group in groups:
            family = voices[group[0]].program // PROGRAMS_PER_FAMILY
            smallest.setdefault(family, []).append(group)
        # Sorted by notes, so the first family with two groups contains a small group.
        first, second = next((g[:2] for g in smallest.values() if len(g) > 1), groups[:2])
        groups.remove(second)
        first += second
    return sorted(groups)


def _move_conflicting_notes(voices: list[Voice], pitched: Sequence[int]) -> None:
    """Move notes away from channels on which their pitch already sounds."""
    families: dict[int, set[int]] = {channel: set() for channel in PITCHED_CHANNELS}
    for number in pitched:
        families[voices[number].channel].add(voices[number].program // PROGRAMS_PER_FAMILY)
    ordered = sorted(
        (span.start, number, span.pitch, index)
        for number in pitched
        for index, span in enumerate(voices[number].spans)
    )
    # (end, track) of the last note of a pitch: by (channel, pitch), and by (port, channel, pitch).
    last_end: dict[tuple[int, int], tuple[int, int]] = {}
    last_end_on_port: dict[tuple[int, int, int], tuple[int, int]] = {}
    moved = {number: list(voices[number].spans) for number in pitched}
    for start, number, pitch, index in ordered:
        voice, span = voices[number], moved[number][index]
        family = voice.program // PROGRAMS_PER_FAMILY
        # Within one tick, players read the tracks in order: the note-off of a later track would
        # follow this note-on and end it. Hence the comparison with this track's number.
        begin = (start, number)
        free = [c for c in PITCHED_CHANNELS if last_end.get((c, pitch), _NEVER) <= begin] or [
            c for c in PITCHED_CHANNELS
            if last_end_on_port.get((voice.port, c, pitch), _NEVER) <= begin
        ]  # fmt: skip
        channel = min(
            free or [voice.channel], key=lambda c: (c != voice.channel, family not in families[c])
        )
        moved[number][index] = dataclasses.replace(span, channel=channel)
        end = (span.end, number)
        last_end[channel, pitch] = max(last_end.get((channel, pitch), _NEVER), end)
        last_end_on_port[voice.port, channel, pitch] = end
    for number in pitched:
        voices[number] = dataclasses.replace(voices[number], spans=tuple(moved[number]))
