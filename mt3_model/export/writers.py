"""Write a transcription in any format: the part of `formats.py` that is imported on first use."""

from mt3_model.export.formats import ExportFormat
from mt3_model.export.midi import to_midi
from mt3_model.export.note_sequence import to_note_sequence_json, to_note_sequence_proto
from mt3_model.export.piano_roll import draw_piano_roll
from mt3_model.export.picture import write_png, write_svg
from mt3_model.export.score_pages import to_score_pdf
from mt3_model.export.strict_json import write_json
from mt3_model.export.transcription_json import to_json_document, to_json_lines
from mt3_model.notes.rhythm_options import parse_quantize
from mt3_model.notes.transcription import Transcription
from mt3_model.score.musicxml import printable_title, to_musicxml


def write(  # noqa: PLR0911 (one per format)
    transcription: Transcription,
    export_format: ExportFormat,
    *,
    transcription_id: str,
    created: int,
    title: str | None = None,
) -> bytes:
    """Write a transcription in a format, as `formats.export` says."""
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
                title=printable_title(title),
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
