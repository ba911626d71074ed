"""Tokens per segment, in order -> notes, exactly as the original joins them.

The published model says what happens in 2.048 s; this module makes one recording of it. State
crosses the border: which notes sound, the current program and velocity, and the clock. The rules
are those of magenta/mt3 fa04532 (note_sequences.py ``decode_note_event``,
``begin_tied_pitches_section``, ``flush_note_decoding_state``, ``assign_instruments``;
run_length_encoding.py ``decode_events``; metrics_utils.py ``decode_and_combine_predictions``),
float noise included, because it moves notes:

1. An event's time is ``segment start + steps / steps_per_second`` in float64. A shift to a time
   greater than the next segment's start drops the rest of the segment.
2. An event before the clock is invalid; any other moves the clock first, even if it is then found
   to be invalid.
3. Between the segment's head and its ``tie``, a pitch declares that a sounding note goes on. At
   ``tie``, sounding notes not declared end. Models without ties have no such section: their notes
   sound on until a note-off.
4. What a token cannot mean where it stands is counted and skipped, never raised: the model's odd
   output is data.
5. Instruments are numbered in the order in which the first note of a program *ended*.

It can be fed as segments come: a note is handed out by the segment that ends it, with all its
fields final.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentTokens:
    """What the network wrote for one segment."""

    start_time: float
    """Seconds, rounded down to a step (see `mt3_model/spectrogram/segments.py`)."""
    tokens: Sequence[int] | Int[np.ndarray, " L"]
    """With or without the end token; what follows it is ignored."""
    log_probabilities: Float[np.ndarray, " L"] | None = None
    """Natural logarithm of the probability the network gave each token."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecodedNotes:
    """The notes of one recording, with what could not be decoded."""

    notes: NoteSequence
    invalid_events: int
    """Tokens that could not be decoded where they stood."""
    dropped_events: int
    """Tokens past their segment's share of time."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Sounding:
    """A note that has begun and not ended."""

    start_time: float
    velocity: int
    confidence: float | None


class NoteDecoder:
    """Decodes one recording, segment after segment.

    Attributes:
        invalid_events: Tokens so far that could not be decoded where they stood.
        dropped_events: Tokens so far that were past their segment's share of time.
    """

    def __init__(self, codec: EventCodec, *, uses_ties: bool) -> None:
        self.invalid_events = 0
        self.dropped_events = 0
        self._codec = codec
        self._uses_ties = uses_ties
        self._clock = 0.0
        self._velocity = DEFAULT_VELOCITY
        self._program = 0
        self._sounding: dict[tuple[int, int], _Sounding] = {}  # by (pitch, program)
        self._tied: set[tuple[int, int]] = set()
        self._in_tie_section = False
        self._notes: list[Note] = []
        self._instruments: dict[int, int] = {}  # by program

    @property
    def notes_ended(self) -> int:
        """How many notes have ended so far."""
        return len(self._notes)

    def add_segment(
        self,
        tokens: Sequence[int] | Int[np.ndarray, " L"],
        *,
        start_time: float,
        next_start_time: float | None,
        log_probabilities: Float[np.ndarray, " L"] | None = None,
    ) -> tuple[Note, ...]:
        """Decodes the next segment.

        Args:
            tokens: The segment's tokens; an end token and what follows are ignored.
            start_time: The segment's start, seconds, rounded down to a step.
            next_start_time: The start of the segment after it; ``None`` for the last, which has
                no limit.
            log_probabilities: Natural logarithms, one per token; they become the notes'
                confidence.

        Returns:
            The notes that ended in this segment, in the order in which they ended.
        """
        notes_before = len(self._notes)
        if self._uses_ties:
            self._tied = set()
            self._in_tie_section = True
        listed = tokens_before_end(tokens)
        time = start_time
        for read in read_tokens(listed, self._codec):
            if read.event is None:
                self.invalid_events += 1
                continue
            if read.event.type is EventType.SHIFT:
                time = start_time + read.step / self._codec.steps_per_second
                # The original tests the limit's truth: a limit of 0.0 is none.
                if next_start_time and time > next_start_time:
                    self.dropped_events += len(listed) - read.position
                    break
                continue
            confidence = (
                None
                if log_probabilities is None
                else _probability(log_probabilities[read.position])
            )
            if not self._take(read.event, time, confidence):
                self.invalid_events += 1
        return tuple(self._notes[notes_before:])

    def finish(self) -> NoteSequence:
        """Ends the notes still sounding at the clock's time and gives all notes.

        The order is that in which notes ended. Source: ``flush_note_decoding_state``.
        """
        for note in self._sounding.values():
            self._clock = max(self._clock, note.start_time + MIN_NOTE_SECONDS)
        for key in list(self._sounding):
            self._end_note(key, self._clock)
        total_time = max((note.end_time for note in self._notes), default=0.0)
        return NoteSequence(notes=tuple(self._notes), total_time=total_time)

    def _take(self, event: Event, time: float, confidence: float | None) -> bool:
        """Takes one event; false where it means nothing. Source: ``decode_note_event``."""
        if time < self._clock:
            return False
        self._clock = time
        match event.type:
            case EventType.PITCH:
                return self._take_pitch(event.value, time, confidence)
            case EventType.DRUM:
                return self._take_drum(event.value, time, confidence)
            case EventType.VELOCITY:
                self._velocity = bin_to_velocity(event.value, self._codec.velocity_bins)
            case EventType.PROGRAM:
                self._program = event.value
            case EventType.TIE:
                return self._take_tie(time)
            case EventType.SHIFT:
                raise AssertionError("shifts are read as time before this")
        return True

    def _take_pitch(self, pitch: int, time: float, confidence: float | None) -> bool:
        key = (pitch, self._program)
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
        self._sounding[key] = _Sounding(
            start_time=time, velocity=self._velocity, confidence=confidence
        )
        return True

    def _take_drum(self, pitch: int, time: float, confidence: float | None) -> bool:
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

    def _take_tie(self, time: float) -> bool:
        if not self._in_tie_section:
            return False
        for key in [key for key in self._sounding if key not in self._tied]:
            self._end_note(key, time)
        self._in_tie_section = False
        return True

    def _end_note(self, key: tuple[int, int], time: float) -> None:
        begun = self._sounding.pop(key)
        pitch, program = key
        self._notes.append(
            Note(
                pitch=pitch,
                start_time=begun.start_time,
                end_time=max(time, begun.start_time + MIN_NOTE_SECONDS),
                velocity=begun.velocity,
                program=program,
                instrument=self._instrument(program),
                confidence=begun.confidence,
            )
        )

    def _instrument(self, program: int) -> int:
        """Numbers a program at its first ended note. Source: ``assign_instruments``."""
        if program not in self._instruments:
            number = len(self._instruments)
            self._instruments[program] = number if number < DRUM_INSTRUMENT else number + 1
        return self._instruments[program]


def decode_notes(
    segments: Sequence[SegmentTokens], codec: EventCodec, *, uses_ties: bool
) -> DecodedNotes:
    """Decodes all segments of one recording.

    Args:
        segments: In any order; they are put in order of start time.
        codec: The model's.
        uses_ties: Whether the model's segments open with a tie section.
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


def _probability(log_probability: np.floating) -> float | None:
    """Exponential, kept within [0, 1] against the last bit of a float32 log-softmax.

    None where the network gave no number (NaN).
    """
    probability = float(np.exp(np.float64(log_probability)))
    return None if math.isnan(probability) else min(probability, 1.0)
