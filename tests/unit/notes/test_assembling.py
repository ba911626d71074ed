"""Assembling a transcription from segments: borders, times, counts and warnings."""

import numpy as np
import pytest

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import (
    ModelProvenance,
    TranscriptionOptions,
    TranscriptionWarning,
)
from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment, segment_start_time

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")
CODEC = build_codec(MT3.vocabulary)
TIE, ON, OFF, PIANO = (
    Event(type=EventType.TIE, value=0),
    Event(type=EventType.VELOCITY, value=1),
    Event(type=EventType.VELOCITY, value=0),
    Event(type=EventType.PROGRAM, value=0),
)


def pitch(value):
    return Event(type=EventType.PITCH, value=value)


def shift(steps):
    return Event(type=EventType.SHIFT, value=steps)


def segment(index):
    return Segment(
        index=index,
        samples=np.zeros(MT3.segment_samples, np.float32),
        frames=MT3.segment_frames,
        start_time=segment_start_time(index, MT3),
    )


def generated(*events, end=True):
    tokens = [CODEC.event_to_token(event) for event in events] + [END_TOKEN] * end
    return GeneratedSegment(
        tokens=np.array(tokens, np.int32), log_probabilities=np.zeros(len(tokens), np.float32)
    )


def finish(assembler, **arguments):
    return assembler.finish(model=MODEL, duration_seconds=4.0, **arguments)


def test_last_segment_has_no_limit_and_others_end_at_the_next():
    # Each has a note at +2.5 s, after the next segment's start at 2.04 s.
    late = generated(TIE, shift(250), ON, PIANO, pitch(60), shift(260), OFF, pitch(60))
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    assembler.add_segment(segment(0), late)
    assembler.add_segment(segment(1), late)
    transcription = finish(assembler)
    assert [n.start_time for n in transcription.notes.notes] == [pytest.approx(2.04 + 2.5)]
    assert transcription.dropped_events == 7  # of the first segment, all from the first shift on


def test_notes_have_the_recordings_times():
    assembler = RecordingAssembler(MT3, TranscriptionOptions(start=10.0))
    assembler.add_segment(
        segment(0), generated(TIE, shift(100), ON, PIANO, pitch(60), shift(150), OFF, pitch(60))
    )
    transcription = finish(assembler)
    (note,) = transcription.notes.notes
    assert (note.start_time, note.end_time) == (11.0, 11.5)
    assert transcription.notes.total_time == 11.5


def test_tokens_and_segments_are_counted_ends_included():
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    assembler.add_segment(segment(0), generated(TIE))
    assembler.add_segment(segment(1), generated(TIE, shift(1)))
    usage = finish(assembler, queue_seconds=0.5, wall_seconds=2.0).usage
    assert (usage.segments, usage.tokens) == (2, 5)
    assert (usage.audio_seconds, usage.queue_seconds, usage.wall_seconds) == (4.0, 0.5, 2.0)


def test_options_are_reported_as_applied():
    options = TranscriptionOptions(
        postprocess="duplicates, ties,duplicates", instruments=("piano, drums", "piano")
    )
    used = finish(RecordingAssembler(MT3, options)).options
    assert used.precision == "float32"
    assert used.postprocess == "ties,duplicates"
    assert used.instruments == ("piano", "drums")


def test_the_no_notes_warning_follows_the_audio_warnings():
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    assembler.add_segment(segment(0), generated(TIE))
    cut = TranscriptionWarning(code="truncated_audio", message="cut")
    assert [w.code for w in finish(assembler, warnings=[cut]).warnings] == [
        "truncated_audio",
        "no_notes",
    ]


def test_a_segment_without_an_end_token_gives_a_warning_with_its_times():
    assembler = RecordingAssembler(MT3, TranscriptionOptions(start=10.0))
    assembler.add_segment(segment(0), generated(TIE, ON, PIANO, pitch(60), end=False))
    (warning,) = finish(assembler).warnings
    assert (warning.code, warning.start, warning.end) == ("unfinished_segment", 10.0, 12.048)
    assert "the segment at 10.00 s" in warning.message


HELD_ON = (
    # Sounds from +1 s of the first segment, through the second, to +0.5 s of the third.
    generated(TIE, shift(100), ON, PIANO, pitch(60)),
    generated(PIANO, pitch(60), TIE, shift(50), ON, pitch(64), shift(60), OFF, pitch(64)),
    generated(PIANO, pitch(60), TIE, ON, pitch(67), shift(50), OFF, pitch(60)),
)


def test_closing_a_segment_returns_the_same_notes_earlier():
    options = TranscriptionOptions(start=10.0)
    waiting, closing = RecordingAssembler(MT3, options), RecordingAssembler(MT3, options)
    early_notes = []
    for index, tokens in enumerate(HELD_ON):
        waiting.add_segment(segment(index), tokens)
        assert closing.add_segment(segment(index), tokens) == ()
        is_last = index == len(HELD_ON) - 1
        early_notes.append(
            closing.close_segment(None if is_last else segment(index + 1).start_time)
        )
    whole = finish(waiting)
    assert [[n.pitch for n in notes] for notes in early_notes] == [[], [64], [60, 67]]
    assert sum(early_notes, ()) == whole.notes.notes
    assert finish(closing) == whole


def test_notes_of_a_pending_segment_come_when_the_next_is_added():
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    drum = Event(type=EventType.DRUM, value=36)
    assert assembler.add_segment(segment(0), generated(TIE, ON, drum)) == ()
    (note,) = assembler.add_segment(segment(1), generated(TIE))
    assert (note.pitch, note.is_drum) == (36, True)
    assert assembler.close_segment(None) == ()


def test_closing_twice_returns_nothing_more():
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    assembler.add_segment(segment(0), HELD_ON[0])
    assert [n.pitch for n in assembler.close_segment(None)] == [60]
    assert assembler.close_segment(None) == ()
    assert len(finish(assembler).notes.notes) == 1


def test_the_next_start_limits_a_segment_added_or_closed():
    late = generated(TIE, shift(250), ON, PIANO, pitch(60), shift(260), OFF, pitch(60))
    assembler = RecordingAssembler(MT3, TranscriptionOptions())
    assembler.add_segment(segment(0), late)
    assert assembler.close_segment(segment(1).start_time) == ()
    assembler.add_segment(segment(1), late)
    assert [n.start_time for n in assembler.close_segment(None)] == [pytest.approx(2.04 + 2.5)]
    assert finish(assembler).dropped_events == 7
