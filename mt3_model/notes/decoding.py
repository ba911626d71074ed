"""Tokens per segment, in order -> notes, exactly as the original joins them.

The model describes each segment (2.048 s for MT3) on its own; this module joins the segments of one
recording. Four things carry over from one segment to the next: the sounding notes, the current
program, the current velocity and the clock. For example, with ``uses_ties``::

    segment 0:  tie  program 0  velocity 1  pitch 60                      (a note begins)
    segment 1:  program 0  pitch 60  tie  shift 50  velocity 0  pitch 60  (and ends)

The tie section of segment 1 (everything before ``tie``) lists pitch 60 as still sounding; its
note-off then comes 50 steps (0.5 s) after the start of segment 1. The result is one note.

The rules are those of magenta/mt3 fa04532 (note_sequences.py ``decode_note_event``,
``begin_tied_pitches_section``, ``flush_note_decoding_state``, ``assign_instruments``;
run_length_encoding.py ``decode_events``; metrics_utils.py ``decode_and_combine_predictions``).
Rounding errors of floats are reproduced too, because they move notes:

1. An event's time is ``segment start + steps / steps_per_second`` in float64. A shift to a time
   greater than the next segment's start drops the rest of the segment.
2. An event before the clock is invalid. Any other event advances the clock first, even if it then
   turns out to be invalid.
3. In the tie section, a pitch declares that a sounding note continues. At ``tie``, sounding notes
   that were not declared end. Models without ties have no such section: their notes sound until a
   note-off.
4. A token that has no meaning where it stands is counted and skipped; it never raises an error.
5. Instruments are numbered in the order in which the first note of each program *ended*.

With ``joins_programs``, which the original does not have, ties and note-offs also find a note
that sounds under another program, if it is the only one of its pitch: the model often changes the
program of a note from one segment to the next.

Decoding is incremental: each note is returned by the segment that ends it, with final fields.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from jaxtyping import Float, Int
from msgspec import structs

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.run_length import read_tokens
from mt3_model.codec.velocity import bin_to_velocity
from mt3_model.codec.vocabulary import EventCodec, tokens_before_end
from mt3_model.notes.note import Note, NoteSequence

DEFAULT_VELOCITY = 100
"""Velocity before the first velocity event. Source: note_sequences.py ``DEFAULT_VELOCITY``."""
MIN_NOTE_SECONDS = 0.01
"""Shortest note, and the length of a drum. Source: note_sequences.py ``MIN_NOTE_DURATION``."""
DRUM_INSTRUMENT = 9
"""NoteSequence instrument of drums, skipped by others. Source: ``assign_instruments``."""


class InstrumentNumbers:
    """Numbers programs by their first note, skipping the drums' number.

    Source: note_sequences.py ``assign_instruments``.
    """

    def __init__(self) -> None:
        """Start without programs."""
        self._numbers: dict[int, int] = {}

    def number_of(self, program: int) -> int:
        """Return the NoteSequence instrument of a program; a new program gets the next number."""
        number = self._numbers.setdefault(program, len(self._numbers))
        return number if number < DRUM_INSTRUMENT else number + 1


def number_instruments(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Number each program by its first note, as `NoteDecoder` does; drums keep their number."""
    numbers = InstrumentNumbers()
    return tuple(note if note.is_drum else _with_instrument(note, numbers) for note in notes)


def _with_instrument(note: Note, numbers: InstrumentNumbers) -> Note:
    number = numbers.number_of(note.program)
    return note if note.instrument == number else structs.replace(note, instrument=number)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentTokens:
    """The tokens of one segment."""

    start_time: float
    """The segment's start in seconds, rounded down to a step
    (see `mt3_model/spectrogram/segments.py`)."""
    tokens: Sequence[int] | Int[np.ndarray, " L"]
    """``[L]`` tokens, with or without an end token; tokens after it are ignored."""
    log_probabilities: Float[np.ndarray, " L"] | None = None
    """``[L]``, the natural logarithm of each token's probability."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecodedNotes:
    """The notes of one recording, and counts of the tokens that gave none."""

    notes: NoteSequence
    invalid_events: int
    """Tokens with no meaning where they stood."""
    dropped_events: int
    """Tokens timed after the start of the next segment."""


class _SoundingNote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A note that has begun and not ended."""

    start_time: float
    velocity: int
    confidence: float | None


class NoteDecoder:
    """Decodes the segments of one recording, one after another.

    Attributes:
        invalid_events: Tokens so far with no meaning where they stood.
        dropped_events: Tokens so far that were timed after the start of the next segment.
    """

    def __init__(self, codec: EventCodec, *, uses_ties: bool, joins_programs: bool = False) -> None:
        """Start without notes.

        Args:
            codec: The model's codec.
            uses_ties: Whether the model's segments begin with a tie section.
            joins_programs: Whether a tie or note-off also finds the only note of its pitch that
                sounds under another program; the original needs the same program.
        """
        self.invalid_events = 0
        self.dropped_events = 0
        self._codec = codec
        self._uses_ties = uses_ties
        self._joins_programs = joins_programs
        self._clock = -math.inf  # a second pass begins before the recording
        self._velocity = DEFAULT_VELOCITY
        self._program = 0
        self._sounding: dict[tuple[int, int], _SoundingNote] = {}  # by (pitch, program)
        self._tied: set[tuple[int, int]] = set()  # (pitch, program) declared in the tie section
        self._in_tie_section = False
        self._notes: list[Note] = []
        self._instruments = InstrumentNumbers()

    @property
    def notes_ended(self) -> int:
        """The number of notes that have ended so far."""
        return len(self._notes)

    def add_segment(
        self,
        tokens: Sequence[int] | Int[np.ndarray, " L"],
        *,
        start_time: float,
        next_start_time: float | None,
        log_probabilities: Float[np.ndarray, " L"] | None = None,
    ) -> tuple[Note, ...]:
        """Decode the next segment.

        Args:
            tokens: ``[L]``, the segment's tokens; an end token and what follows it are ignored.
            start_time: The segment's start in seconds, rounded down to a step.
            next_start_time: The next segment's start in seconds, which ends this segment's share
                of time; ``None`` for the last segment, which has no limit.
            log_probabilities: ``[L]``, the natural logarithm of each token's probability; the
                probability of a pitch or drum token becomes the confidence of its note.

        Returns:
            The notes that ended in this segment, in the order in which they ended.
        """
        notes_before = len(self._notes)
        if self._uses_ties:
            self._tied = set()
            self._in_tie_section = True
        tokens = _to_list(tokens_before_end(tokens))
        probabilities = None if log_probabilities is None else _probabilities(log_probabilities)
        time = start_time
        for token in read_tokens(tokens, self._codec):
            if token.event is None:
                self.invalid_events += 1
                continue
            if token.event.type is EventType.SHIFT:
                time = start_time + token.step / self._codec.steps_per_second
                # The original tests the limit for truth, so 0.0 means no limit.
                if next_start_time and time > next_start_time:
                    self.dropped_events += len(tokens) - token.position
                    break
                continue
            confidence = None if probabilities is None else probabilities[token.position]
            if not self._apply_event(token.event, time, confidence):
                self.invalid_events += 1
        return tuple(self._notes[notes_before:])

    def finish(self) -> NoteSequence:
        """End the notes that still sound at the clock's time and return all notes.

        Notes come in the order in which they ended. Source: ``flush_note_decoding_state``.
        """
        for note in self._sounding.values():
            self._clock = max(self._clock, note.start_time + MIN_NOTE_SECONDS)
        for key in list(self._sounding):
            self._end_note(key, self._clock)
        total_time = max((note.end_time for note in self._notes), default=0.0)
        return NoteSequence(notes=tuple(self._notes), total_time=total_time)

    def _apply_event(self, event: Event, time: float, confidence: float | None) -> bool:
        """Apply one event; return false if it is invalid. Source: ``decode_note_event``."""
        if time < self._clock:
            return False
        self._clock = time
        match event.type:
            case EventType.PITCH:
                return self._apply_pitch(event.value, time, confidence)
            case EventType.DRUM:
                return self._apply_drum(event.value, time, confidence)
            case EventType.VELOCITY:
                self._velocity = bin_to_velocity(event.value, self._codec.velocity_bins)
            case EventType.PROGRAM:
                self._program = event.value
            case EventType.TIE:
                return self._apply_tie(time)
            case EventType.SHIFT:
                raise AssertionError("add_segment turns shifts into times")
        return True

    def _apply_pitch(self, pitch: int, time: float, confidence: float | None) -> bool:
        key = (pitch, self._program)
        if self._in_tie_section or self._velocity == 0:
            key = self._find_sounding(key)
        if self._in_tie_section:
            if key not in self._sounding or key in self._tied:
                return False
            self._tied.add(key)
            return True
        if self._velocity == 0:
            if key not in self._sounding:
                return False
            self._end_note(key, time)
            return True
        if key in self._sounding:
            self._end_note(key, time)
        self._sounding[key] = _SoundingNote(
            start_time=time, velocity=self._velocity, confidence=confidence
        )
        return True

    def _find_sounding(self, key: tuple[int, int]) -> tuple[int, int]:
        """Return the key of the sounding note that a tie or note-off means."""
        if not self._joins_programs or key in self._sounding:
            return key
        same_pitch = [other for other in self._sounding if other[0] == key[0]]
        return same_pitch[0] if len(same_pitch) == 1 else key

    def _apply_drum(self, pitch: int, time: float, confidence: float | None) -> bool:
        if self._velocity == 0:
            return False
        self._notes.append(
            Note(
                pitch=pitch,
                start_time=time,
                end_time=time + MIN_NOTE_SECONDS,
                velocity=self._velocity,
                is_drum=True,
                instrument=DRUM_INSTRUMENT,
                confidence=confidence,
            )
        )
        return True

    def _apply_tie(self, time: float) -> bool:
        if not self._in_tie_section:
            return False
        for key in [key for key in self._sounding if key not in self._tied]:
            self._end_note(key, time)
        self._in_tie_section = False
        return True

    def _end_note(self, key: tuple[int, int], time: float) -> None:
        sounding = self._sounding.pop(key)
        pitch, program = key
        self._notes.append(
            Note(
                pitch=pitch,
                start_time=sounding.start_time,
                end_time=max(time, sounding.start_time + MIN_NOTE_SECONDS),
                velocity=sounding.velocity,
                program=program,
                instrument=self._instruments.number_of(program),
                confidence=sounding.confidence,
            )
        )


def decode_notes(
    segments: Sequence[SegmentTokens], codec: EventCodec, *, uses_ties: bool
) -> DecodedNotes:
    """Decode all segments of one recording.

    Args:
        segments: The recording's segments in any order; they are sorted by start time.
        codec: The model's codec.
        uses_ties: Whether the model's segments begin with a tie section.
    """
    ordered = sorted(segments, key=lambda segment: segment.start_time)
    decoder = NoteDecoder(codec, uses_ties=uses_ties)
    for segment, following in itertools.zip_longest(ordered, ordered[1:]):
        decoder.add_segment(
            segment.tokens,
            start_time=segment.start_time,
            next_start_time=None if following is None else following.start_time,
            log_probabilities=segment.log_probabilities,
        )
    return DecodedNotes(
        notes=decoder.finish(),
        invalid_events=decoder.invalid_events,
        dropped_events=decoder.dropped_events,
    )


def _to_list(tokens: Sequence[int] | Int[np.ndarray, " L"]) -> Sequence[int]:
    """Return tokens as Python's integers, which are looked up faster than NumPy's."""
    return tokens.tolist() if isinstance(tokens, np.ndarray) else tokens


def _probabilities(log_probabilities: Float[np.ndarray, " L"]) -> list[float | None]:
    """Return exp(log_probabilities), with None for NaN.

    A float32 log-softmax may exceed 0 in its last bit, so the results are clipped to 1.
    """
    exact = np.exp(log_probabilities.astype(np.float64)).tolist()
    return [None if math.isnan(each) else min(each, 1.0) for each in exact]
