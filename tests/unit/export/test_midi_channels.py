"""More programs than channels: every player plays each note with its own program."""

import collections
import io
import random

import mido
import pretty_midi
import pytest

from mt3_model.export.midi import to_midi
from mt3_model.notes.note import Note, NoteSequence


def note(program, pitch, start, end, *, is_drum=False):
    return Note(
        pitch=pitch,
        start_time=float(start),
        end_time=float(end),
        velocity=100,
        program=program,
        is_drum=is_drum,
    )


def written(notes):
    return to_midi(
        NoteSequence(notes=tuple(notes), total_time=max(note.end_time for note in notes))
    )


def played(content, *, ports):
    """Return (program, pitch, start, end) in ticks of the notes that a synthesizer would play.

    All tracks are played together. A channel has the program last given to it; a note-on ends the
    note of that pitch on its channel, and so does a note-off.
    """
    timed = []
    for number, track in enumerate(mido.MidiFile(file=io.BytesIO(content)).tracks):
        now, port = 0, 0
        for place, message in enumerate(track):
            now += message.time
            if message.type == "midi_port" and ports:
                port = message.port
            elif not message.is_meta:
                timed.append((now, number, place, port, message))
    programs, sounding, found = collections.defaultdict(int), {}, []

    def end(key, now):
        if key in sounding:
            program, start = sounding.pop(key)
            found.append((program, key[-1], start, now))

    for now, _, _, port, message in sorted(timed, key=lambda entry: entry[:3]):
        channel = (port, message.channel)
        if message.type == "program_change":
            programs[channel] = message.program
            continue
        end((*channel, message.note), now)
        if message.type == "note_on":
            sounding[*channel, message.note] = (programs[channel], now)
    assert not sounding
    return sorted(found)


def expected(notes):
    return sorted(
        (note.program, note.pitch, round(note.start_time * 1_000), round(note.end_time * 1_000))
        for note in notes
    )


def band(programs, *, seed, notes=40, pitches=128):
    """Draw random notes; notes of the same program and pitch do not overlap."""
    chance = random.Random(seed)
    made = []
    for program in range(programs):
        free = collections.defaultdict(int)
        for _ in range(notes):
            pitch = chance.randrange(pitches)
            start = free[pitch] + chance.randrange(0, 300)
            free[pitch] = start + chance.randrange(1, 200)
            made.append(note(program, pitch, start / 100, free[pitch] / 100))
    return made


@pytest.mark.parametrize("ports", [False, True])
@pytest.mark.parametrize("programs", [15, 16, 20, 31, 128])
def test_every_note_has_its_program_and_its_length(programs, ports):
    notes = band(programs, seed=programs, notes=20 if programs < 100 else 10)
    assert played(written(notes), ports=ports) == expected(notes)


@pytest.mark.parametrize("ports", [False, True])
def test_drums_stay_on_their_channel_and_piano_sounds_as_piano(ports):
    # As in an orchestra's file: piano, and horn (60) among nineteen others.
    programs = [0, 24, 33, 40, 41, 42, 43, 46, 47, 48, 52, 56, 57, 58, 60, 61, 68, 70, 71, 73, 75]
    notes = [note(p, 60 + n, n / 10, n / 10 + 1) for n, p in enumerate(programs)]
    drums = [note(0, 36, n / 4, n / 4 + 0.01, is_drum=True) for n in range(8)]
    content = written(notes + drums)
    assert played(content, ports=ports) == expected(notes + drums)
    channels = collections.defaultdict(set)
    for track in mido.MidiFile(file=io.BytesIO(content)).tracks[1:]:
        channels[track.name == "Drums"] |= {m.channel for m in track if m.type == "note_on"}
    assert channels[True] == {9}
    assert 9 not in channels[False]


@pytest.mark.parametrize("ports", [False, True])
def test_one_pitch_in_fifteen_programs_at_once(ports):
    # Sixteen programs share channels; fifteen of them hold one pitch at overlapping times.
    notes = [note(p, 60, p / 10, 3.0 + p / 10) for p in range(15)] + [note(15, 61, 0.0, 1.0)]
    assert played(written(notes), ports=ports) == expected(notes)


def test_a_note_off_of_a_later_track_does_not_end_a_note_that_begins_with_it():
    # Programs 0 and 1 have the fewest notes and share a channel; 1 ends as 0 begins.
    others = [note(p, 40 + n, n / 10, n / 10 + 0.1) for p in range(2, 17) for n in range(3)]
    notes = [note(1, 60, 0.0, 1.0), note(0, 60, 1.0, 2.0), *others]
    assert played(written(notes), ports=False) == expected(notes)


def test_more_notes_of_a_pitch_than_channels_are_separated_by_ports():
    notes = [note(p, 60, 0.0, 1.0) for p in range(128)]
    assert played(written(notes), ports=True) == expected(notes)
    # Without ports, every note begins with its program, and fifteen are played to the end.
    heard = played(written(notes), ports=False)
    assert sorted(program for program, *_ in heard) == list(range(128))
    assert sum(end == 1_000 for *_, end in heard) == 15


def homes(content):
    """Return the channel of the first program change of each program's track."""
    tracks = mido.MidiFile(file=io.BytesIO(content)).tracks[1:]
    changes = [next(m for m in track if m.type == "program_change") for track in tracks]
    return {change.program: change.channel for change in changes}


def test_programs_of_one_family_share_before_unlike_ones():
    # One program of each of fourteen families, and four guitars (24 to 31).
    programs = [family * 8 for family in range(16) if family not in (3, 15)] + [24, 25, 26, 27]
    found = homes(written([note(p, 60 + n, 0.0, 1.0) for n, p in enumerate(programs)]))
    shared = collections.Counter(found.values())
    assert sorted(shared.values()) == [1] * 14 + [4]
    assert {found[p] for p in (24, 25, 26, 27)} == {max(shared, key=shared.get)}


def test_the_tracks_with_the_fewest_notes_share():
    notes = [note(p, 60, n, n + 1.0) for p in range(16) for n in range(1 if p in (8, 13) else 5)]
    found = homes(written(notes))
    assert found[8] == found[13]
    assert len(set(found.values())) == 15


@pytest.mark.parametrize("programs", [20, 128])
def test_pretty_midi_reads_each_note_with_its_program(programs):
    notes = band(programs, seed=1, notes=10, pitches=6)
    read = pretty_midi.PrettyMIDI(io.BytesIO(written(notes)))
    found = sorted(
        (i.program, n.pitch, round(n.start * 1_000), round(n.end * 1_000))
        for i in read.instruments
        for n in i.notes
    )
    assert found == expected(notes)
