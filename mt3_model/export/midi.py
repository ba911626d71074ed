"""Notes -> a Standard MIDI File that opens in a sequencer with one named track per program.

The file is of type 1: a conductor track with tempi, time signatures and the key, then one track per
program in the order of `group_tracks`, each with its General MIDI name and program change.
Decisions:

1. If the beats of the recording are known, the grid of the file lies on them: the tempo follows the
   recording, and each note still has its time in seconds, to the nearest tick of about a
   millisecond (`tempo_map.py`). With a grid for ``quantize``, the file has one tempo instead, and
   every note begins and ends on the grid.
2. Without beats, 120 beats per minute and 500 ticks per quarter give 1,000 ticks per second, so
   MT3's symbolic step of 10 ms is exactly 10 ticks and no note moves. (The original writes 220
   ticks per quarter, 440 per second: 10 ms are 4.4 ticks, and its notes are up to 1.1 ms off.)
   pretty_midi and all tools built on it reject files of more than ten million ticks, which are
   2 h 46 min; the default limit of a transcription is two hours. A longer file gets fewer ticks per
   second, but still a whole number per 10 ms.
3. Drums use channel 10 (index 9). Up to fifteen pitched programs get a channel each. More programs
   share channels, each with its own port (meta event 0x21 and the device name 0x09), as chosen by
   `midi_channels.py`. The program change is repeated before a note if another program used its
   channel since, so that players which ignore ports play every note with the right program.
4. A channel can hold one note per pitch. If two notes of a program overlap, the first ends at the
   second's onset; of two with the same onset, the longer is kept. Notes last at least one tick.
5. At equal times a note-off precedes a note-on; otherwise it would end a repeated note at once.
6. Every track ends at ``total_time``. Equal notes give equal bytes.
"""

import dataclasses
import io
from collections.abc import Iterator, Sequence

import mido

from mt3_model.export.midi_channels import Span, Voice, assign_channels
from mt3_model.export.tempo_map import (
    MAX_TICKS,
    TempoMap,
    beat_tempo_map,
    constant_tempo_map,
)
from mt3_model.notes.musical_time import Key, MusicalTime
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import group_tracks
from mt3_model.rhythm.quantizing import quantize_notes, quantized_tempo

BEATS_PER_MINUTE = 120.0
TICKS_PER_QUARTER = (500, 250, 100, 50)
"""Resolutions in order of preference: 10, 5, 2 or 1 tick per 10 ms. The first whose file
fits in `MAX_TICKS` is used."""
QUANTIZED_RESOLUTION = 480
"""Ticks per quarter of a quantized file: a multiple of every grid."""
_SECONDS_PER_QUARTER = 60 / BEATS_PER_MINUTE
_OFF, _ON = 0, 1
_MIDI_KEYS: dict[str, tuple[str, ...]] = {
    "major": (
        "Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#",
    ),
    "minor": (
        "Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m",
        "A#m",
    ),
}  # fmt: skip
"""mido's names of the key signatures, from seven flats to seven sharps."""


def to_midi(
    notes: NoteSequence,
    *,
    time: MusicalTime | None = None,
    grid: int | None = None,
    title: str = "Transcription",
) -> bytes:
    """Write notes as a Standard MIDI File.

    Args:
        notes: The notes of one recording; times in seconds.
        time: Beats, bars and key, if known.
        grid: Steps per quarter note to which notes are moved; None leaves them where they are.
            Without ``time`` there is nothing to move them to.
        title: The name of the conductor track, which sequencers show as the name of the piece.
    """
    last = max([notes.total_time, *(note.end_time for note in notes.notes)])
    if time is not None and grid is not None:
        notes, last = quantize_notes(notes, time, grid)
        time_map = constant_tempo_map(
            QUANTIZED_RESOLUTION, float(quantized_tempo(time)), time.time_signature
        )
    elif time is not None:
        time_map = beat_tempo_map(time, last=last, max_ticks=MAX_TICKS)
    else:
        time_map = constant_tempo_map(choose_resolution(last), BEATS_PER_MINUTE)
    return _write(notes, time_map, last, title=title, key=None if time is None else time.key)


def _write(
    notes: NoteSequence, time_map: TempoMap, last: float, *, title: str, key: Key | None
) -> bytes:
    tracks = group_tracks(notes)
    voices = assign_channels(
        [
            Voice(
                program=track.program, is_drum=track.is_drum,
                spans=tuple(_spans(track.notes, time_map)),
            )
            for track in tracks
        ]
    )  # fmt: skip
    end = max([time_map.to_ticks(last), *(s.end for voice in voices for s in voice.spans)])
    has_ports = any(voice.port for voice in voices)
    resolution = time_map.ticks_per_quarter
    file = mido.MidiFile(type=1, ticks_per_beat=resolution, charset="utf-8")
    file.tracks.append(_conductor_track(title, time_map, key, end))
    for track, voice, timed in zip(tracks, voices, _timed_messages(voices), strict=True):
        head = _track_head(track.name, voice.port if has_ports else None)
        file.tracks.append(_track(head, timed, end))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def choose_resolution(seconds: float) -> int:
    """Return the ticks per quarter for a file of ``seconds`` length."""
    # One tick more than the end, because a note without length is written with one tick.
    fitting = (r for r in TICKS_PER_QUARTER if seconds_to_ticks(seconds, r) + 2 <= MAX_TICKS)
    return next(fitting, TICKS_PER_QUARTER[-1])


def seconds_to_ticks(seconds: float, resolution: int) -> int:
    """Round a time to ticks, 1,000 per second at a ``resolution`` of 500 per quarter."""
    return round(seconds * (resolution / _SECONDS_PER_QUARTER))


def _conductor_track(title: str, time_map: TempoMap, key: Key | None, end: int) -> mido.MidiTrack:
    timed: list[tuple[int, mido.MetaMessage]] = [
        (change.tick, mido.MetaMessage("set_tempo", tempo=change.microseconds))
        for change in time_map.tempi
    ]
    timed.extend(
        (
            change.tick,
            mido.MetaMessage(
                "time_signature", numerator=change.numerator, denominator=change.denominator
            ),
        )
        for change in time_map.meters
    )
    if key is not None:
        timed.append(
            (0, mido.MetaMessage("key_signature", key=_MIDI_KEYS[key.mode][key.fifths + 7]))
        )
    inside = [pair for pair in sorted(timed, key=lambda pair: pair[0]) if pair[0] <= end]
    return _track([mido.MetaMessage("track_name", name=title)], inside, end)


def _track_head(name: str, port: int | None) -> list[mido.MetaMessage]:
    head = [mido.MetaMessage("track_name", name=name)]
    if port is not None:
        head.append(mido.MetaMessage("midi_port", port=port))
        head.append(mido.MetaMessage("device_name", name=f"Port {port + 1}"))
    return head


def _track(
    head: Sequence[mido.MetaMessage],
    timed: Sequence[tuple[int, mido.Message | mido.MetaMessage]],
    end: int,
) -> mido.MidiTrack:
    messages = mido.MidiTrack(head)
    now = 0
    for tick, message in timed:
        messages.append(message.copy(skip_checks=True, time=tick - now))
        now = tick
    messages.append(mido.MetaMessage("end_of_track", time=end - now))
    return messages


def _timed_messages(voices: Sequence[Voice]) -> list[list[tuple[int, mido.Message]]]:
    """Return the messages of each track with their ticks, in file order.

    All tracks are merged by tick and then by track, as in a player that ignores ports, to find
    where a program change must be repeated.
    """
    # (tick, track, note-off before note-on, pitch, velocity, channel)
    keyed: list[tuple[int, int, int, int, int, int]] = []
    for number, voice in enumerate(voices):
        for span in voice.spans:
            keyed.append((span.start, number, _ON, span.pitch, span.velocity, span.channel))
            keyed.append((span.end, number, _OFF, span.pitch, 0, span.channel))
    keyed.sort()
    tracks: list[list[tuple[int, mido.Message]]] = [
        [(0, _program_change(voice))] for voice in voices
    ]
    # By channel: the track whose program it has. Each track sets its own program at tick 0.
    current_track: dict[int, int] = {}
    tracks_begun = 0
    for tick, number, kind, pitch, velocity, channel in keyed:
        while tracks_begun < len(voices) and (tick > 0 or tracks_begun <= number):
            current_track[voices[tracks_begun].channel] = tracks_begun
            tracks_begun += 1
        if kind == _ON and current_track.get(channel) != number:
            tracks[number].append((tick, _program_change(voices[number], channel)))
            current_track[channel] = number
        name = "note_on" if kind == _ON else "note_off"
        # Checking every field would take five times as long as all the rest.
        message = mido.Message(
            name, skip_checks=True, channel=channel, note=pitch, velocity=velocity
        )
        tracks[number].append((tick, message))
    return tracks


def _program_change(voice: Voice, channel: int | None = None) -> mido.Message:
    if channel is None:
        channel = voice.channel
    return mido.Message("program_change", program=voice.program, channel=channel)


def _spans(notes: tuple[Note, ...], time_map: TempoMap) -> Iterator[Span]:
    """Yield the notes of one track in ticks, trimmed so that notes of one pitch never overlap."""
    by_pitch: dict[int, list[Span]] = {}
    for note in notes:
        start = time_map.to_ticks(note.start_time)
        end = max(time_map.to_ticks(note.end_time), start + 1)
        span = Span(start=start, end=end, pitch=note.pitch, velocity=note.velocity)
        by_pitch.setdefault(note.pitch, []).append(span)
    for spans in by_pitch.values():
        # Of notes with the same onset, the longest comes first and the others are dropped.
        spans.sort(key=lambda span: (span.start, -span.end, -span.velocity))
        distinct = [
            span for i, span in enumerate(spans) if i == 0 or span.start != spans[i - 1].start
        ]
        next_starts = [span.start for span in distinct[1:]]
        for span, limit in zip(distinct, [*next_starts, distinct[-1].end], strict=True):
            yield dataclasses.replace(span, end=min(span.end, limit))
