"""The original's targets, computed the slow way that its documentation describes.

An oracle for `mt3_model/notes/encoding.py`, which cuts events by their step. Here the whole
recording is one row of events with single-step shifts between; every frame points into the row
and into a second row of tie sections; a segment is what lies between two pointers; then shifts are
run-length coded. Source of the procedure: magenta/mt3 fa04532, run_length_encoding.py.
"""

import itertools

from mt3_model.notes.note import NoteSequence
from mt3_model.spec import ModelSpec

SHIFT, PITCH, VELOCITY = 0, 1001, 1129
FRAMES_PER_SECOND = 125.0
STEPS_PER_SECOND = 100


class SingleStepRow:
    """The events of the whole recording, with the position that each frame points to."""

    def __init__(self, model: ModelSpec, frames: int) -> None:
        self.bins = model.vocabulary.velocity_bins
        self.tie = VELOCITY + self.bins + 1
        self.program = self.tie + 1
        self.drum = self.program + 128
        self.frame_times = [frame / FRAMES_PER_SECOND for frame in range(frames)]
        self.row: list[int] = []
        self.tie_row: list[int] = []
        self.row_starts: list[int] = []
        self.tie_starts: list[int] = []
        self.sounding: set[tuple[int, int]] = set()
        self.step = self.row_start = self.tie_start = 0

    def write(self, notes: NoteSequence) -> None:
        for time, pitch, program, is_drum, velocity in _changes(notes):
            while round(time * STEPS_PER_SECOND) > self.step:
                self.advance()
                self.row_start, self.tie_start = len(self.row), len(self.tie_row)
            for sounding_program, sounding_pitch in sorted(self.sounding):
                self.tie_row += [self.program + sounding_program, PITCH + sounding_pitch]
            self.tie_row.append(self.tie)
            self.change(pitch, program, is_drum=is_drum, velocity=velocity)
        while self.step / STEPS_PER_SECOND <= self.frame_times[-1]:
            self.advance()
            self.row_start = len(self.row)

    def advance(self) -> None:
        self.row.append(SHIFT + 1)
        self.step += 1
        now = self.step / STEPS_PER_SECOND
        for time in self.frame_times[len(self.row_starts) :]:
            if time >= now:
                break
            self.row_starts.append(self.row_start)
            self.tie_starts.append(self.tie_start)

    def change(self, pitch: int, program: int, *, is_drum: bool, velocity: int) -> None:
        velocity_index = VELOCITY - (-self.bins * velocity // 127)
        if is_drum:
            self.row += [velocity_index, self.drum + pitch]
            return
        self.row += [self.program + program, velocity_index, PITCH + pitch]
        if velocity:
            self.sounding.add((program, pitch))
        else:
            self.sounding.discard((program, pitch))

    def is_program(self, index: int) -> bool:
        return self.program <= index < self.drum

    def tie_section(self, frame: int) -> list[int]:
        rest = self.tie_row[self.tie_starts[frame] :]
        return [*itertools.takewhile(lambda index: index != self.tie, rest), self.tie]

    def run_length(self, targets: list[int]) -> list[int]:
        coded: list[int] = []
        current: dict[str, int] = {}
        steps = written = 0
        for index in targets:
            if index <= 1000:
                steps += 1
                continue
            kind = "velocity" if VELOCITY <= index < self.tie else ""
            kind = "program" if self.is_program(index) else kind
            if kind and current.get(kind) == index:
                continue
            current[kind] = index
            if steps > written:
                full, rest = divmod(steps, 1000)
                coded += [1000] * full + ([rest] if rest else [])
                written = steps
            coded.append(index)
        return coded


def reference_targets(notes: NoteSequence, model: ModelSpec, frames: int) -> list[list[int]]:
    """Return the event indices of each segment, run-length coded, without special tokens."""
    whole = SingleStepRow(model, frames)
    whole.write(notes)
    segments: list[list[int]] = []
    for frame in range(0, frames, model.segment_frames):
        following = frame + model.segment_frames
        end = whole.row_starts[following] if following < frames else len(whole.row)
        targets = whole.row[whole.row_starts[frame] : end]
        if model.vocabulary.uses_ties:
            targets = whole.tie_section(frame) + targets
        if model.vocabulary.program_granularity == "flat":
            targets = [index for index in targets if not whole.is_program(index)]
        segments.append(whole.run_length(targets))
    return segments


def _changes(notes: NoteSequence) -> list[tuple[float, int, int, bool, int]]:
    ordered = sorted(notes.notes, key=lambda n: (n.is_drum, n.program, n.pitch))
    offsets = [(n.end_time, n.pitch, n.program, False, 0) for n in ordered if not n.is_drum]
    onsets = [(n.start_time, n.pitch, n.program, n.is_drum, n.velocity) for n in ordered]
    return sorted(offsets + onsets, key=lambda change: change[0])
