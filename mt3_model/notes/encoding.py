"""Notes -> tokens per segment, with tie sections: the targets the published model was trained on.

This is the inverse of `decoding.py`, used for training data, evaluation and round-trip tests.
Source: magenta/mt3 fa04532, note_sequences.py ``note_sequence_to_onsets_and_offsets_and_programs``,
``note_event_data_to_events``, ``note_encoding_state_to_events``; run_length_encoding.py
``encode_and_index_events``, ``extract_target_sequence_with_indices``; preprocessors.py
``map_midi_programs``. The original writes the whole recording as single-step shifts and splits that
sequence at frames; here each event carries its step and is assigned to a segment by it, with the
same result:

1. Events are sorted by exact time, then rounded to steps (half to even). At equal times, offsets
   come before onsets, and both are sorted by program and pitch, drums last.
2. A segment holds the events from the last step at or before its first frame up to, but not
   including, the first step of the next segment. The last segment holds everything after.
3. The tie section lists the notes that sound before the segment's first event. In segments after
   the recording's last event, the original keeps listing the notes that sounded before that event's
   step. So does this module; the decoder ignores them because no such note sounds.

Departures: a recording without notes gives empty segments (the original fails with ties). A
segment's start time is the step that its shifts count from (rule 2); the decoder's
``segment_start_time`` is one step lower in 43 of the first 400 segments.
"""

import bisect
import dataclasses
import itertools
import math

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.program import map_program_event
from mt3_model.codec.run_length import TimedEvent, write_tokens
from mt3_model.codec.velocity import velocity_to_bin
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.errors import CodecError
from mt3_model.notes.decoding import SegmentTokens
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.spec import ModelSpec, VocabularySpec


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _NoteChange:
    """An onset or an offset."""

    step: int
    """Symbolic steps since the recording's start."""
    pitch: int
    program: int
    is_drum: bool
    velocity_bin: int
    """0 for an offset."""


def encode_notes(notes: NoteSequence, spec: ModelSpec, *, frames: int) -> tuple[SegmentTokens, ...]:
    """Encode a recording's notes as the tokens of its segments.

    Tokens cannot represent overlapping notes of one pitch and program: trim them first
    (`trimming.py`).

    Args:
        notes: Notes, each with a positive length and velocity.
        spec: The model whose segment length and vocabulary are used.
        frames: The number of frames of the recording, at least 1, padding included.

    Returns:
        The tokens of each segment, with an end token.

    Raises:
        CodecError: A note has no length or velocity, or is outside the codec's ranges.
    """
    vocabulary = spec.vocabulary
    codec = build_codec(vocabulary)
    changes = _note_changes(notes, vocabulary)
    change_steps = [change.step for change in changes]
    first_steps = [
        _step_at_frame(frame, spec) for frame in range(0, max(frames, 1), spec.segment_frames)
    ]
    last_step = change_steps[-1] if changes else 0
    sounding = _SoundingNotes(changes)
    segments: list[SegmentTokens] = []
    for first, after in itertools.zip_longest(first_steps, first_steps[1:]):
        begin = bisect.bisect_left(change_steps, first)
        end = len(changes) if after is None else bisect.bisect_left(change_steps, after)
        events: list[TimedEvent] = []
        if vocabulary.uses_ties:
            events += sounding.tie_section(before_step=min(first, last_step))
        for change in changes[begin:end]:
            events += _change_events(change, change.step - first)
        tokens = write_tokens(_map_programs(events, vocabulary), codec)
        segments.append(
            SegmentTokens(
                start_time=first / vocabulary.steps_per_second, tokens=(*tokens, END_TOKEN)
            )
        )
    return tuple(segments)


class _SoundingNotes:
    """Tracks which notes sound, for queries at increasing steps.

    Source: note_sequences.py ``NoteEncodingState``, ``note_encoding_state_to_events``.
    """

    def __init__(self, changes: list[_NoteChange]) -> None:
        self._changes = changes
        self._position = 0
        self._velocity_bins: dict[tuple[int, int], int] = {}  # by (program, pitch)

    def tie_section(self, *, before_step: int) -> list[TimedEvent]:
        """Return the tie section of a segment whose first event is at ``before_step`` or later."""
        while (
            self._position < len(self._changes) and self._changes[self._position].step < before_step
        ):
            change = self._changes[self._position]
            if not change.is_drum:
                self._velocity_bins[change.program, change.pitch] = change.velocity_bin
            self._position += 1
        events: list[Event] = []
        for (program, pitch), velocity_bin in sorted(self._velocity_bins.items()):
            if velocity_bin:
                events.append(Event(type=EventType.PROGRAM, value=program))
                events.append(Event(type=EventType.PITCH, value=pitch))
        events.append(Event(type=EventType.TIE, value=0))
        return [TimedEvent(step=0, event=event) for event in events]


def _note_changes(notes: NoteSequence, vocabulary: VocabularySpec) -> list[_NoteChange]:
    """Return all onsets and offsets in the order in which they are written."""
    for note in notes.notes:
        _check_note(note)
    ordered = sorted(notes.notes, key=lambda note: (note.is_drum, note.program, note.pitch))
    timed = [(note.end_time, note, 0) for note in ordered if not note.is_drum]
    timed += [
        (note.start_time, note, velocity_to_bin(note.velocity, vocabulary.velocity_bins))
        for note in ordered
    ]
    timed.sort(key=lambda entry: entry[0])  # stable: offsets stay before onsets
    return [
        _NoteChange(
            step=round(time * vocabulary.steps_per_second),
            pitch=note.pitch,
            program=note.program,
            is_drum=note.is_drum,
            velocity_bin=velocity_bin,
        )
        for time, note, velocity_bin in timed
    ]


def _check_note(note: Note) -> None:
    """Raise `CodecError` for a note that cannot be encoded.

    Source: note_sequences.py ``validate_note_sequence``.
    """
    if not 0 <= note.start_time < note.end_time:
        raise CodecError(
            f"a note lasts from {note.start_time} s to {note.end_time} s; expected a start of 0 "
            "or more and a later end"
        )
    if note.velocity == 0:
        raise CodecError("a note has velocity 0, which means note-off; expected 1 to 127")


def _change_events(change: _NoteChange, step: int) -> list[TimedEvent]:
    """Return the events of one onset or offset.

    Source: note_sequences.py ``note_event_data_to_events``.
    """
    events = [Event(type=EventType.VELOCITY, value=change.velocity_bin)]
    if change.is_drum:
        events.append(Event(type=EventType.DRUM, value=change.pitch))
    else:
        events.insert(0, Event(type=EventType.PROGRAM, value=change.program))
        events.append(Event(type=EventType.PITCH, value=change.pitch))
    return [TimedEvent(step=step, event=event) for event in events]


def _map_programs(events: list[TimedEvent], vocabulary: VocabularySpec) -> list[TimedEvent]:
    mapped: list[TimedEvent] = []
    for timed in events:
        event = map_program_event(timed.event, vocabulary.program_granularity)
        if event is not None:
            mapped.append(TimedEvent(step=timed.step, event=event))
    return mapped


def _step_at_frame(frame: int, spec: ModelSpec) -> int:
    """Return the last step at or before a frame's start, compared in float64 like the original.

    Source: run_length_encoding.py ``encode_and_index_events`` (``frame_times[i] < cur_step /
    steps_per_second``).
    """
    steps_per_second = spec.vocabulary.steps_per_second
    time = frame / spec.spectrogram.frames_per_second
    step = math.floor(time * steps_per_second)
    # The product can round to just below a whole step (296.96 * 100); the quotient cannot.
    return step + 1 if (step + 1) / steps_per_second <= time else step
