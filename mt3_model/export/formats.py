"""The forms an answer can take, each with its media type and file suffix, and the one writer.

The HTTP server and the command line offer the same forms under the same names, so both ask here:
a form added to this table is offered everywhere.
"""

import dataclasses
import enum

from mt3_model.export.midi import to_midi
from mt3_model.export.note_sequence import to_note_sequence_json, to_note_sequence_proto
from mt3_model.export.piano_roll import to_piano_roll_png
from mt3_model.export.strict_json import write_json
from mt3_model.export.transcription_json import to_json_document, to_json_lines
from mt3_model.notes.transcription import Transcription


class ExportFormat(enum.Enum):
    """A form of the answer; the value is its name for users."""

    JSON = "json"
    """Everything that is known, as one document."""
    JSONL = "jsonl"
    """The same, a line per note."""
    MIDI = "midi"
    """A Standard MIDI File."""
    NOTESEQUENCE = "notesequence"
    """note-seq's protobuf, binary."""
    NOTESEQUENCE_JSON = "notesequence_json"
    """note-seq's protobuf in protobuf's JSON form."""
    PIANO_ROLL = "piano_roll"
    """A picture."""

    @property
    def media_type(self) -> str:
        """What ``Content-Type`` says."""
        return _KINDS[self].media_type

    @property
    def suffix(self) -> str:
        """Of a file in this form, dot included."""
        return _KINDS[self].suffix


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    media_type: str
    suffix: str


_KINDS = {
    ExportFormat.JSON: _Kind(media_type="application/json", suffix=".json"),
    ExportFormat.JSONL: _Kind(media_type="application/x-ndjson", suffix=".jsonl"),
    ExportFormat.MIDI: _Kind(media_type="audio/midi", suffix=".mid"),
    ExportFormat.NOTESEQUENCE: _Kind(media_type="application/x-protobuf", suffix=".pb"),
    ExportFormat.NOTESEQUENCE_JSON: _Kind(
        media_type="application/json", suffix=".notesequence.json"
    ),
    ExportFormat.PIANO_ROLL: _Kind(media_type="image/png", suffix=".png"),
}


def export(
    transcription: Transcription, form: ExportFormat, *, transcription_id: str, created: int
) -> bytes:
    """Writes an answer.

    Args:
        transcription: The answer.
        form: How to write it.
        transcription_id: Named in the JSON forms.
        created: Seconds since 1970 (UTC), named in the JSON forms.
    """
    notes = transcription.notes
    match form:
        case ExportFormat.JSON:
            document = to_json_document(
                transcription, transcription_id=transcription_id, created=created
            )
            return write_json(document).encode()
        case ExportFormat.JSONL:
            return to_json_lines(
                transcription, transcription_id=transcription_id, created=created
            ).encode()
        case ExportFormat.MIDI:
            return to_midi(notes)
        case ExportFormat.NOTESEQUENCE:
            return to_note_sequence_proto(notes)
        case ExportFormat.NOTESEQUENCE_JSON:
            return to_note_sequence_json(notes).encode()
        case ExportFormat.PIANO_ROLL:
            return to_piano_roll_png(notes)
