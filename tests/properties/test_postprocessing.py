"""Properties of the clean-up: the changes that it may and may not make."""

import collections
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.postprocess_option import POSTPROCESS_STEPS, PostprocessStep
from mt3_model.postprocessing.cleaning import clean_up
from mt3_model.postprocessing.sound import RecordingSound

SAMPLE_RATE = 16_000
OCTAVES = (0, -12, -24)


drawn_notes = st.lists(
    st.tuples(
        st.booleans(),  # whether it is a drum
        st.sampled_from((0, 1, 4, 24, 33, 33, 39, 70, 127)),  # program
        st.sampled_from((0, 11, 28, 40, 52, 53, 64, 76, 127)),  # pitch
        st.integers(0, 300),  # steps from the end of the same pitch and program
        st.integers(1, 200),  # length in steps
        st.integers(1, 127),  # velocity
    ),
    max_size=25,
)
DrawnNotes = list[tuple[bool, int, int, int, int, int]]


def sequence(drawn: DrawnNotes) -> NoteSequence:
    """Draw notes as the decoder writes them: of one pitch and program no two overlap."""
    ends: dict[tuple[int, int, bool], float] = collections.defaultdict(float)
    notes: list[Note] = []
    for is_drum, program, pitch, gap, length, velocity in drawn:
        key = (pitch, 0 if is_drum else program, is_drum)
        start = ends[key] + gap / 100
        ends[key] = start + length / 100
        notes.append(
            Note(
                pitch=pitch,
                start_time=start,
                end_time=ends[key],
                velocity=velocity,
                program=key[1],
                is_drum=is_drum,
                instrument=9 if is_drum else 0,
            )
        )
    notes.sort(key=lambda note: note.end_time)
    return NoteSequence(
        notes=tuple(notes), total_time=max((n.end_time for n in notes), default=0.0)
    )


def sound_of(drawn: tuple[float, float] | None) -> RecordingSound | None:
    """Draw a tone with odd partials and noise, or silence."""
    if drawn is None:
        return None
    frequency, level = drawn
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    samples = level * np.random.default_rng(0).standard_normal(len(times))
    samples += 0.3 * np.sign(np.sin(2.0 * np.pi * frequency * times))
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(samples.astype(np.float32))
    return sound


sounds = st.none() | st.tuples(
    st.sampled_from((20.6, 41.2, 82.4, 164.8, 659.3)), st.sampled_from((0.0, 0.01, 1.0))
)
steps = st.lists(st.sampled_from(POSTPROCESS_STEPS), unique=True).map(tuple)


@given(drawn_notes, steps, sounds)
def test_every_note_left_is_one_of_the_model(
    drawn: DrawnNotes, chosen: tuple[PostprocessStep, ...], heard: tuple[float, float] | None
) -> None:
    notes = sequence(drawn)
    written = {
        (n.start_time, None if "velocity" in chosen else n.velocity, n.is_drum, n.pitch + octave)
        for n in notes
        for octave in (OCTAVES if not n.is_drum else (0,))
    }
    cleaned = clean_up(sequence(drawn), chosen, sound=sound_of(heard))
    left = [
        (n.start_time, None if "velocity" in chosen else n.velocity, n.is_drum, n.pitch)
        for n in cleaned
    ]
    assert set(left) <= written
    assert len(left) <= len(notes)
    assert all(0 <= n.pitch <= 127 and n.end_time > n.start_time for n in cleaned)
    if "usual_programs" not in chosen:
        assert {n.program for n in cleaned} <= {n.program for n in notes}
    assert cleaned.total_time == max((n.end_time for n in cleaned), default=0.0)


@given(drawn_notes, steps, sounds)
def test_notes_are_ordered_by_their_ends_and_do_not_overlap(
    drawn: DrawnNotes, chosen: tuple[PostprocessStep, ...], heard: tuple[float, float] | None
) -> None:
    cleaned = clean_up(sequence(drawn), chosen, sound=sound_of(heard))
    ends = [n.end_time for n in cleaned]
    assert ends == sorted(ends)
    groups: dict[tuple[int, int], list[Note]] = collections.defaultdict(list)
    for each in sorted(cleaned, key=lambda n: n.start_time):
        if not each.is_drum:
            groups[each.pitch, each.program].append(each)
    for group in groups.values():
        assert all(a.end_time <= b.start_time for a, b in itertools.pairwise(group))


@given(drawn_notes, steps, sounds)
def test_of_drums_without_confidence_only_the_velocity_changes(
    drawn: DrawnNotes, chosen: tuple[PostprocessStep, ...], heard: tuple[float, float] | None
) -> None:
    def drums(of: NoteSequence) -> list[Note]:
        found = (structs.replace(n, velocity=1) for n in of if n.is_drum)
        return sorted(found, key=lambda n: (n.end_time, n.start_time, n.pitch))

    assert drums(clean_up(sequence(drawn), chosen, sound=sound_of(heard))) == drums(sequence(drawn))


@given(drawn_notes, sounds)
def test_velocity_changes_nothing_else_and_stays_in_its_range(
    drawn: DrawnNotes, heard: tuple[float, float] | None
) -> None:
    plain = clean_up(sequence(drawn), ("duplicates",))
    cleaned = clean_up(sequence(drawn), ("duplicates", "velocity"), sound=sound_of(heard))
    assert len(cleaned) == len(plain)
    for before, after in zip(plain, cleaned, strict=True):
        assert structs.replace(after, velocity=before.velocity) == before
    if heard is not None:
        assert all(50 <= n.velocity <= 110 for n in cleaned)


@given(drawn_notes)
def test_merging_and_relabelling_twice_changes_nothing_more(drawn: DrawnNotes) -> None:
    settled: tuple[tuple[PostprocessStep, ...], ...] = (
        ("duplicates",), ("ensemble",), ("duplicates", "ensemble"),
    )  # fmt: skip
    for chosen in settled:
        once = clean_up(sequence(drawn), chosen)
        assert clean_up(once, chosen) == once


@given(drawn_notes)
def test_pitches_change_only_by_the_octave_steps(drawn: DrawnNotes) -> None:
    cleaned = clean_up(sequence(drawn), ("duplicates", "ensemble"))
    assert {n.pitch for n in cleaned} <= {n.pitch for n in sequence(drawn)}
