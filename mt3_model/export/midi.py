"""Notes -> a Standard MIDI File that opens in a sequencer with one named track per program.

Type 1: a conductor track with tempo and time signature, then one track per program in the order
of `group_tracks`, each with its General MIDI name and program change. Choices, each for a reason:

1. 120 beats per minute and 1,200 ticks per quarter, so 2,400 ticks per second: MT3's symbolic step
   of 10 ms is then exactly 24 ticks and no note moves. (The original writes 220 ticks per quarter,
   440 per second: its 10 ms are 4.4 ticks, and its notes are up to 1.1 ms off.) The beats are
   those of the clock, not of the music; no tempo is estimated here.
2. Drums are on channel 10 (index 9). Each pitched program has a channel of its own; a sixteenth
   pitched program opens a second MIDI port with the same fifteen channels (meta event 0x21 and the
   device name 0x09), so that no two programs are ever merged.
3. One channel can hold one note of a pitch: where two overlap, the first ends at the second's
   onset, and of two with the same onset the longer stays. Notes are at least one tick long.
4. At equal times a note-off goes before a note-on, or a repeated note would be cut at once.
5. Every track ends at ``total_time``; equal notes give equal bytes.
"""

import io
from collections.abc import Iterator

import mido

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import Track, group_tracks

BEATS_PER_MINUTE = 120
TICKS_PER_QUARTER = 1_200
TICKS_PER_SECOND = TICKS_PER_QUARTER * BEATS_PER_MINUTE // 60
"""2,400: 24 to a symbolic step of 10 ms."""
DRUM_CHANNEL = 9
"""General MIDI's channel 10, counted from zero."""
PITCHED_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)


def to_midi(notes: NoteSequence, *, title: str = "Transcription") -> bytes:
    """Writes a Standard MIDI File.

    Args:
        notes: Of one recording; times in seconds.
        title: Name of the conductor track, which sequencers show as the name of the piece.
    """
    tracks = group_tracks(notes)
    end = max(
        [seconds_to_ticks(notes.total_time), *(e for t in tracks for _, e, _ in _spans(t.notes))]
    )
    pitched = sum(not track.is_drum for track in tracks)
    several_ports = pitched > len(PITCHED_CHANNELS)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER, charset="utf-8")
    file.tracks.append(_conductor_track(title, end))
    place = 0
    for track in tracks:
        if track.is_drum:
            port, channel = 0, DRUM_CHANNEL
        else:
            port, index = divmod(place, len(PITCHED_CHANNELS))
            channel = PITCHED_CHANNELS[index]
            place += 1
        file.tracks.append(_note_track(track, channel, port if several_ports else None, end))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def seconds_to_ticks(seconds: float) -> int:
    """``round(seconds * 2,400)``."""
    return round(seconds * TICKS_PER_SECOND)


def _conductor_track(title: str, end: int) -> mido.MidiTrack:
    return mido.MidiTrack(
        [
            mido.MetaMessage("track_name", name=title),
            mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_PER_MINUTE)),
            mido.MetaMessage("time_signature", numerator=4, denominator=4),
            mido.MetaMessage("end_of_track", time=end),
        ]
    )


def _note_track(track: Track, channel: int, port: int | None, end: int) -> mido.MidiTrack:
    messages = mido.MidiTrack([mido.MetaMessage("track_name", name=track.name)])
    if port is not None:
        messages.append(mido.MetaMessage("midi_port", port=port))
        messages.append(mido.MetaMessage("device_name", name=f"Port {port + 1}"))
    messages.append(mido.Message("program_change", program=track.program, channel=channel))
    now = 0
    for tick, message in _timed_messages(track, channel):
        messages.append(message.copy(time=tick - now))
        now = tick
    messages.append(mido.MetaMessage("end_of_track", time=end - now))
    return messages


def _timed_messages(track: Track, channel: int) -> list[tuple[int, mido.Message]]:
    """Note-ons and note-offs of a track with their ticks, in the order of the file."""
    # Sorted by tick, note-off (0) before note-on (1), pitch.
    keyed: list[tuple[int, int, int, int]] = []
    for start, end, note in _spans(track.notes):
        keyed.append((start, 1, note.pitch, note.velocity))
        keyed.append((end, 0, note.pitch, 0))
    keyed.sort()
    return [
        (
            tick,
            mido.Message(
                "note_on" if is_on else "note_off", channel=channel, note=pitch, velocity=velocity
            ),
        )
        for tick, is_on, pitch, velocity in keyed
    ]


def _spans(notes: tuple[Note, ...]) -> Iterator[tuple[int, int, Note]]:
    """Start and end in ticks of each note of one track; those of one pitch never overlap."""
    by_pitch: dict[int, list[tuple[int, int, Note]]] = {}
    for note in notes:
        start = seconds_to_ticks(note.start_time)
        end = max(seconds_to_ticks(note.end_time), start + 1)
        by_pitch.setdefault(note.pitch, []).append((start, end, note))
    for spans in by_pitch.values():
        # Of one onset, the longest comes first and alone stays.
        spans.sort(key=lambda span: (span[0], -span[1], -span[2].velocity))
        distinct = [span for i, span in enumerate(spans) if i == 0 or span[0] != spans[i - 1][0]]
        next_starts = [start for start, _, _ in distinct[1:]]
        for (start, end, note), limit in zip(distinct, [*next_starts, None], strict=True):
            yield start, end if limit is None else min(end, limit), note
