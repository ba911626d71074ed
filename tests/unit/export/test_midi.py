"""The MIDI file, read with two independent libraries."""

import io

import mido
import pretty_midi
import pytest

from mt3_model.export.midi import choose_resolution, seconds_to_ticks, to_midi
from mt3_model.notes.note import Note, NoteSequence

HALF_TICK = 0.5 / 1_000  # 500 ticks per quarter, two quarters a second


def note(pitch, start, end, *, program=0, is_drum=False, velocity=127):
    return Note(
        pitch=pitch,
        start_time=float(start),
        end_time=float(end),
        velocity=velocity,
        program=program,
        is_drum=is_drum,
        instrument=9 if is_drum else 0,
    )


def sequence(*notes):
    return NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))


def read_mido(content):
    return mido.MidiFile(file=io.BytesIO(content))


def read_pretty(content):
    return pretty_midi.PrettyMIDI(io.BytesIO(content))


def spans(track, pitch):
    """Return (start, end) in ticks of the notes of a pitch; they must not be nested."""
    found, now, began = [], 0, None
    for message in track:
        now += message.time
        if message.type == "note_on" and message.note == pitch:
            assert began is None, "a note begins inside another"
            began = now
        elif message.type == "note_off" and message.note == pitch:
            assert began is not None
            found.append((began, now))
            began = None
    assert began is None
    return found


@pytest.mark.parametrize(("resolution", "ticks"), [(500, 10), (250, 5), (100, 2), (50, 1)])
@pytest.mark.parametrize("step", [0, 1, 7, 3_071, 359_999])
def test_multiples_of_10_ms_with_float_noise_fall_on_their_tick(step, resolution, ticks):
    assert seconds_to_ticks(step * 0.01, resolution) == ticks * step


@pytest.mark.parametrize(
    ("seconds", "resolution"),
    [(0.0, 500), (7_200.0, 500), (9_999.9, 500), (10_000.0, 250), (30_000.0, 100), (90_000.0, 50)],
)
def test_a_longer_file_has_fewer_ticks(seconds, resolution):
    assert choose_resolution(seconds) == resolution


@pytest.mark.parametrize("seconds", [7_200.0, 20_001.0])
def test_hours_can_be_read(seconds):
    content = to_midi(sequence(note(60, 0, 1), note(61, seconds - 1, seconds)))
    assert read_mido(content).length == pytest.approx(seconds)
    (read,) = read_pretty(content).instruments
    times = [(n.start, n.end) for n in read.notes]
    assert times == [(0, 1), pytest.approx((seconds - 1, seconds))]


def test_notes_come_back_within_half_a_tick():
    notes = sequence(
        note(60, 0.0, 0.5), note(64, 0.12345, 0.9), note(40, 30.71, 31.0, program=33, velocity=90)
    )
    read = read_pretty(to_midi(notes))
    found = [
        (i.program, n.pitch, n.velocity, n.start, n.end) for i in read.instruments for n in i.notes
    ]
    expected = [(n.program, n.pitch, n.velocity, n.start_time, n.end_time) for n in notes.notes]
    assert len(found) == len(expected)
    for ours, theirs in zip(sorted(expected), sorted(found), strict=True):
        assert ours[:3] == theirs[:3]
        assert theirs[3:] == pytest.approx(ours[3:], abs=HALF_TICK + 1e-9)


def test_each_program_is_a_named_track_with_its_own_channel():
    notes = sequence(note(60, 0, 1), note(40, 0, 1, program=33), note(67, 0, 1, program=40))
    file = read_mido(to_midi(notes))
    tracks = file.tracks[1:]
    assert [t.name for t in tracks] == [
        "Acoustic Grand Piano", "Electric Bass (finger)", "Violin",
    ]  # fmt: skip
    changes = [m for t in tracks for m in t if m.type == "program_change"]
    assert [m.program for m in changes] == [0, 33, 40]
    assert len({m.channel for m in changes}) == 3


def test_drums_are_on_channel_10():
    file = read_mido(to_midi(sequence(note(36, 0, 0.01, is_drum=True), note(60, 0, 1))))
    drums = next(t for t in file.tracks if t.name == "Drums")
    assert {m.channel for m in drums if not m.is_meta} == {9}
    assert read_pretty(to_midi(sequence(note(36, 0, 0.01, is_drum=True)))).instruments[0].is_drum


def test_no_pitched_program_is_on_the_drum_channel():
    file = read_mido(to_midi(sequence(*(note(60, 0, 1, program=p) for p in range(15)))))
    channels = [m.channel for t in file.tracks for m in t if m.type == "program_change"]
    assert sorted(channels) == [*range(9), *range(10, 16)]
    assert not [m for t in file.tracks for m in t if m.type == "midi_port"]


def test_a_sixteenth_program_opens_a_second_port():
    notes = sequence(
        *(note(60, 0, 1, program=p) for p in range(128)), note(36, 0, 0.01, is_drum=True)
    )
    file = read_mido(to_midi(notes))
    places = []
    for track in file.tracks[1:]:
        port = next(m.port for m in track if m.type == "midi_port")
        device = next(m.name for m in track if m.type == "device_name")
        channel = next(m.channel for m in track if m.type == "program_change")
        assert device == f"Port {port + 1}"
        places.append((port, channel))
    assert len(set(places)) == 129
    assert places[-1] == (0, 9)
    read = read_pretty(to_midi(notes))
    assert sorted(i.program for i in read.instruments if not i.is_drum) == list(range(128))


def test_tempo_and_meter_are_in_the_conductor_track():
    conductor = read_mido(to_midi(sequence(note(60, 0, 1)), title="A song")).tracks[0]
    assert conductor.name == "A song"
    assert next(m.tempo for m in conductor if m.type == "set_tempo") == 500_000
    meter = next(m for m in conductor if m.type == "time_signature")
    assert (meter.numerator, meter.denominator) == (4, 4)


def test_a_note_ends_at_the_onset_of_the_next_of_its_pitch():
    # 0-1 s and 0.5-0.75 s of one pitch: 500 ticks are half a second.
    track = read_mido(to_midi(sequence(note(60, 0, 1), note(60, 0.5, 0.75)))).tracks[1]
    assert spans(track, 60) == [(0, 500), (500, 750)]


def test_of_two_notes_with_one_onset_the_longer_stays():
    track = read_mido(to_midi(sequence(note(60, 0, 0.5), note(60, 0, 1)))).tracks[1]
    assert spans(track, 60) == [(0, 1_000)]


def test_a_note_without_length_lasts_a_tick():
    track = read_mido(to_midi(sequence(note(60, 1, 1)))).tracks[1]
    assert spans(track, 60) == [(1_000, 1_001)]


def test_a_repeated_note_is_released_before_it_is_struck_again():
    track = read_mido(to_midi(sequence(note(60, 0, 0.5), note(60, 0.5, 1)))).tracks[1]
    kinds = [m.type for m in track if m.type.startswith("note_")]
    assert kinds == ["note_on", "note_off", "note_on", "note_off"]


def test_the_same_pitch_in_two_programs_does_not_interfere():
    file = read_mido(to_midi(sequence(note(60, 0, 1), note(60, 0.5, 2, program=40))))
    assert [spans(t, 60) for t in file.tracks[1:]] == [[(0, 1_000)], [(500, 2_000)]]


def test_every_track_ends_at_the_total_time():
    notes = NoteSequence(notes=(note(60, 0, 1), note(36, 0, 0.01, is_drum=True)), total_time=3.0)
    file = read_mido(to_midi(notes))
    assert [sum(m.time for m in t) for t in file.tracks] == [3_000] * 3
    assert all(t[-1].type == "end_of_track" for t in file.tracks)


def test_no_notes_give_a_valid_file():
    content = to_midi(sequence())
    assert len(read_mido(content).tracks) == 1
    assert read_pretty(content).instruments == []


def test_equal_notes_give_equal_bytes():
    notes = [note(60 + i, i * 0.1, i * 0.1 + 0.5, program=i % 3) for i in range(12)]
    assert to_midi(sequence(*notes)) == to_midi(sequence(*notes))
