"""The export formats with their media types and file suffixes, and one function that writes them.

The HTTP server and the command line both read this table, so a format added here is offered
everywhere under the same name.
"""

import dataclasses
import enum
import importlib

from mt3_model.notes.transcription import Transcription


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


def export(
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
        title: The title of a score or MIDI file, usually the recording's name; None for
            "Transcription".
    """
    from mt3_model.export import writers  # noqa: PLC0415 (see `load_writers`)

    return writers.write(
        transcription,
        export_format,
        transcription_id=transcription_id,
        created=created,
        title=title,
    )


def load_writers() -> None:
    """Import what `export` needs, before its first call.

    Pillow, protobuf and mido take a tenth of a second, which a server need not spend before it is
    ready.
    """
    importlib.import_module("mt3_model.export.writers")
