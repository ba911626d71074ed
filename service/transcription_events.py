"""The events of one transcription, in the order in which `Transcriber.stream` yields them.

`Started`; then, for each segment, `SegmentDone` and `Progress`, with `Warned` where there is cause;
`FinalNotes` if the options ask for a clean-up or a second pass; `Completed`.
"""

import dataclasses

from mt3_model.notes.note import Note
from mt3_model.notes.transcription import Transcription, TranscriptionWarning


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The recording is open and admitted."""

    audio_seconds: float | None
    """Declared length of the requested range; None if the recording declares none."""
    recording_seconds: float | None = None
    """Declared length of the whole recording."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentDone:
    """A segment and all before it are decoded. Segments of a second pass have no events."""

    index: int
    """0, 1, 2... without gaps."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    notes: tuple[Note, ...]
    """The notes that ended in it, in the order of their ends. The last segment also has the notes
    that sound to the end of the recording. Provisional if `FinalNotes` follows, else final."""
    tracks: tuple[int, ...]
    """The track number of each note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress after a segment."""

    done_seconds: float
    """Audio transcribed, from the start of the range."""
    total_seconds: float | None
    """Length of the range; None while it is unknown, and once the recording is longer than it
    declares."""
    segments: int
    """Number of decoded segments, of all passes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """A warning about the recording or the notes."""

    warning: TranscriptionWarning


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FinalNotes:
    """The notes after the second pass and the clean-up, which replace those of all segments.

    Both need the whole recording, so notes are provisional until then.
    """

    notes: tuple[Note, ...]
    """All notes of the recording, in the order of their ends; at least one."""
    tracks: tuple[int, ...]
    """The track number of each note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """The whole result; the last event of a transcription that succeeds."""

    transcription: Transcription


TranscriptionEvent = Started | SegmentDone | Progress | Warned | FinalNotes | Completed
