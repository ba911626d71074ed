"""Tracks -> ports and channels of a MIDI file, for any number of programs.

A port has fifteen channels beside the drums'. With more programs than that, channels are shared,
and readers differ: some keep ports apart (sequencers), many ignore them (FluidSynth, most
libraries). Both must play each note with its own program:

1. Tracks that share a channel have a port each, so that a reader of ports sees one program on each
   channel.
2. Which tracks share is chosen so that what sounds alike comes together: programs of one General
   MIDI family before unlike ones, and of those the tracks with the fewest notes.
3. A note-off ends whatever sounds at its pitch on its channel. Where another track of the channel
   sounds the same pitch, a note moves to a channel on which that pitch is free, again one of its
   family first. Of more than fifteen notes of one pitch at one time, the rest are kept apart by
   their ports alone: only readers of ports hear them all whole.

The file's writer repeats the program change wherever another track used the channel in between.
"""

import dataclasses
from collections.abc import Sequence

DRUM_CHANNEL = 9
"""General MIDI's channel 10, counted from zero."""
PITCHED_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
_FAMILY = 8
"""Programs of a General MIDI family: pianos are 0 to 7, organs 16 to 23."""
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
    """Where it belongs; some spans may be on others."""


def assign_channels(voices: Sequence[Voice]) -> list[Voice]:
    """Gives every voice a port and a channel, and every note a channel; keeps the order."""
    pitched = [number for number, voice in enumerate(voices) if not voice.is_drum]
    assigned = [_on_channel(voice, port=0, channel=DRUM_CHANNEL) for voice in voices]
    groups = _group_alike(voices, pitched)
    for channel, group in zip(PITCHED_CHANNELS, groups, strict=False):
        for port, number in enumerate(group):
            assigned[number] = _on_channel(voices[number], port=port, channel=channel)
    if len(pitched) > len(PITCHED_CHANNELS):
        _move_clashing_notes(assigned, pitched)
    return assigned


def _on_channel(voice: Voice, *, port: int, channel: int) -> Voice:
    spans = tuple(dataclasses.replace(span, channel=channel) for span in voice.spans)
    return dataclasses.replace(voice, port=port, channel=channel, spans=spans)


def _group_alike(voices: Sequence[Voice], pitched: Sequence[int]) -> list[list[int]]:
    """Divides voices into as many groups as there are channels, at most."""
    groups = [[number] for number in pitched]
    while len(groups) > len(PITCHED_CHANNELS):
        groups.sort(key=lambda group: sum(len(voices[number].spans) for number in group))
        smallest: dict[int, list[list[int]]] = {}
        for group in groups:
            smallest.setdefault(voices[group[0]].program // _FAMILY, []).append(group)
        # Ordered by notes, so that the first family with two groups has a small one.
        first, second = next((g[:2] for g in smallest.values() if len(g) > 1), groups[:2])
        groups.remove(second)
        first += second
    return sorted(groups)


def _move_clashing_notes(voices: list[Voice], pitched: Sequence[int]) -> None:
    """Moves notes away from channels on which their pitch is sounding."""
    families: dict[int, set[int]] = {channel: set() for channel in PITCHED_CHANNELS}
    for number in pitched:
        families[voices[number].channel].add(voices[number].program // _FAMILY)
    ordered = sorted(
        (span.start, number, span.pitch, place)
        for number in pitched
        for place, span in enumerate(voices[number].spans)
    )
    # When the last note of a pitch ends on a channel, and whose it is: of all ports, and of each.
    sounding: dict[tuple[int, int], tuple[int, int]] = {}
    sounding_at: dict[tuple[int, int, int], tuple[int, int]] = {}
    moved = {number: list(voices[number].spans) for number in pitched}
    for start, number, pitch, place in ordered:
        voice, span = voices[number], moved[number][place]
        family = voice.program // _FAMILY
        # At one tick, readers take the tracks in order: a later track's note-off would come after
        # this note-on, and end it. Hence the comparison with this track's number.
        begin = (start, number)
        free = [c for c in PITCHED_CHANNELS if sounding.get((c, pitch), _NEVER) <= begin] or [
            c for c in PITCHED_CHANNELS
            if sounding_at.get((voice.port, c, pitch), _NEVER) <= begin
        ]  # fmt: skip
        channel = min(
            free or [voice.channel], key=lambda c: (c != voice.channel, family not in families[c])
        )
        moved[number][place] = dataclasses.replace(span, channel=channel)
        end = (span.end, number)
        sounding[channel, pitch] = max(sounding.get((channel, pitch), _NEVER), end)
        sounding_at[voice.port, channel, pitch] = end
    for number in pitched:
        voices[number] = dataclasses.replace(voices[number], spans=tuple(moved[number]))
