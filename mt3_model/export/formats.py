"""The export formats with their media types and file suffixes, and one function that writes them.

The HTTP server and the command line both read this table, so a format added here is offered
everywhere under the same name.
"""

import dataclasses
import enum

from mt3_model.export.midi import to_midi
from mt3_model.export.note_sequence import to_note_sequence_json, to_note_sequence_proto
from mt3_model.export.piano_roll import draw_piano_roll
from mt3_model.export.picture import write_png, write_svg
from mt3_model.export.score_pages import to_score_pdf
from mt3_model.export.strict_json import write_json
from mt3_model.export.transcription_json import to_json_document, to_json_lines
from mt3_model.notes.rhythm_options import parse_quantize
from mt3_model.notes.transcription import Transcription
from mt3_model.score.musicxml import to_musicxml


class ExportFormat(enum.Enum):
    """A format that a transcription can be written in; the value is its public name."""

    JSON = "json"
    """The complete transcription as one JSON document."""
    JSONL = "jsonl"
    """The same as JSON lines, one per note."""
    MIDI = "midi"
    """A Standard MIDI File."""
    NOTESEQUENCE = "notesequence"
    """note-seq's protobuf in binary form."""
    NOTESEQUENCE_JSON = "notesequence_json"
    """note-seq's protobuf in protobuf's JSON form."""
    PIANO_ROLL = "piano_roll"
    """A PNG picture."""
    PIANO_ROLL_SVG = "piano_roll_svg"
    """The same as an SVG picture."""
    MUSICXML = "musicxml"
    """A score, which MuseScore and other notation programs open."""
    SCORE_PDF = "score_pdf"
    """The same score as pages."""

    @property
    def media_type(self) -> str:
        """The value of the ``Content-Type`` header."""
        return _FILE_TYPES[self].media_type

    @property
    def suffix(self) -> str:
        """The file name suffix, with its dot."""
        return _FILE_TYPES[self].suffix


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FileType:
    media_type: str
    suffix: str


_FILE_TYPES = {
    ExportFormat.JSON: _FileType(media_type="application/json", suffix=".json"),
    ExportFormat.JSONL: _FileType(media_type="application/x-ndjson", suffix=".jsonl"),
    ExportFormat.MIDI: _FileType(media_type="audio/midi", suffix=".mid"),
    ExportFormat.NOTESEQUENCE: _FileType(media_type="application/x-protobuf", suffix=".pb"),
    ExportFormat.NOTESEQUENCE_JSON: _FileType(
        media_type="application/json", suffix=".notesequence.json"
    ),
    ExportFormat.PIANO_ROLL: _FileType(media_type="image/png", suffix=".png"),
    ExportFormat.PIANO_ROLL_SVG: _FileType(media_type="image/svg+xml", suffix=".svg"),
    ExportFormat.MUSICXML: _FileType(
        media_type="application/vnd.recordare.musicxml+xml", suffix=".musicxml"
    ),
    ExportFormat.SCORE_PDF: _FileType(media_type="application/pdf", suffix=".pdf"),
}


def export(  # noqa: PLR0911 (one per format)
    transcription: Transcription,
    export_format: ExportFormat,
    *,
    transcription_id: str,
    created: int,
    title: str | None = None,
) -> bytes:
    """Write a transcription in a format.

    Args:
        transcription: The transcription to write.
        export_format: The format to write it in.
        transcription_id: The ``id`` of the JSON formats.
        created: The ``created`` time of the JSON formats, in seconds since 1970 (UTC).
        title: The title of a score, usually the recording's name; None for "Transcription".
    """
    notes = transcription.notes
    match export_format:
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
            return to_midi(
                notes,
                time=transcription.musical_time,
                grid=parse_quantize(transcription.options.quantize),
            )
        case ExportFormat.NOTESEQUENCE:
            return to_note_sequence_proto(notes, transcription.musical_time)
        case ExportFormat.NOTESEQUENCE_JSON:
            return to_note_sequence_json(notes, transcription.musical_time).encode()
        case ExportFormat.PIANO_ROLL | ExportFormat.PIANO_ROLL_SVG:
            start = transcription.options.start
            picture = draw_piano_roll(
                notes,
                musical_time=transcription.musical_time,
                start=start,
                end=start + transcription.duration_seconds,
            )
            is_png = export_format is ExportFormat.PIANO_ROLL
            return write_png(picture) if is_png else write_svg(picture)
        case ExportFormat.MUSICXML:
            return to_musicxml(transcription, title=title)
        case ExportFormat.SCORE_PDF:
            return to_score_pdf(transcription, title=title)
