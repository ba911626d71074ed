"""The events of a stream as values.

    Started               transcription.started   what will be transcribed
    Progress              progress                how far it is
    Segment               segment                 2 seconds of it are decoded
    Note                  note                    a note that has ended
    TranscriptionWarning  warning                 something to know
    Completed             completed               the answer, but for its notes

A note and a warning are those of the JSON answer. ``error`` is raised (`streaming.py`), and a kind
that a later server adds is passed over.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from service.client.answers import (
    ModelProvenance,
    Note,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
)
from service.client.documents import read_document
from service.client.errors import UnexpectedAnswerError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The recording was received, and its transcription begins."""

    id: str
    """Of the transcription."""
    model: ModelProvenance
    options: TranscriptionOptions
    """As used."""
    created: int
    """Seconds since 1970, UTC."""
    duration_seconds: float | None = None
    """Of the range asked for; none where the file does not say how long it is."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far it is."""

    done_seconds: float
    total_seconds: float | None = None
    """None while it is not known."""
    fraction: float | None = None
    """0 to 1; none while the total is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One segment is decoded, and with it every earlier one."""

    index: int
    """From 0."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    note_count: int
    """Notes that it brought to their end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """All is done."""

    transcription: Transcription
    """The answer; its ``notes`` are those that the stream gave, in the order of their onsets."""


Event = Started | Progress | Segment | Note | TranscriptionWarning | Completed
_SHAPES: Mapping[str, type[Started | Progress | Segment | Note | TranscriptionWarning]] = {
    "transcription.started": Started,
    "progress": Progress,
    "segment": Segment,
    "note": Note,
    "warning": TranscriptionWarning,
}


class EventReader:
    """Reads one stream's events, and keeps its notes for the end."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def read(self, kind: str, document: Mapping[str, Any]) -> Event | None:
        """Reads an event.

        Args:
            kind: The event's name.
            document: Its data.

        Returns:
            The event; none where its kind is not known here.

        Raises:
            UnexpectedAnswerError: A field is missing or of another type.
        """
        where = f"the event {kind!r}"
        if kind == "completed":
            return Completed(transcription=self._complete(document, where))
        if kind not in _SHAPES:
            return None
        event = read_document(_SHAPES[kind], document, where=where)
        if isinstance(event, Note):
            self._notes.append(event)
        return event

    def _complete(self, document: Mapping[str, Any], where: str) -> Transcription:
        answer = document.get("transcription")
        if not isinstance(answer, Mapping):
            raise UnexpectedAnswerError(f"{where} has no object 'transcription'")
        whole = read_document(Transcription, {**answer, "notes": []}, where=where)
        return dataclasses.replace(whole, notes=tuple(sorted(self._notes, key=_order)))


def _order(note: Note) -> tuple[float, bool, int, int, float]:
    """Of the JSON answer's notes (`mt3_model/export/transcription_json.py`)."""
    return (note.start_time, note.is_drum, note.program, note.pitch, note.end_time)
