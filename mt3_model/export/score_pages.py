"""A transcription -> the pages of its score as a PDF.

The pages are drawn in a separate process (`engraving.py`). verovio holds the interpreter lock while
it works, 2 s for three minutes of a band, during which a server could not answer; and a crash in
native code ends only that process. Long scores are drawn in sections, because verovio's memory
grows with the length of what it draws.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from mt3_model.errors import ScorePagesError
from mt3_model.notes.transcription import Transcription
from mt3_model.score.arranging import arrange, split_score
from mt3_model.score.musicxml import printable_title, write_musicxml

BARS_PER_SECTION = 150
_SECONDS_PER_SECTION = 60.0
"""A section takes 2 to 5 s on two cores; a process that takes much longer hangs."""


def to_score_pdf(transcription: Transcription, *, title: str | None = None) -> bytes:
    """Draw a transcription's score as a PDF of A4 pages.

    Args:
        transcription: The transcription to draw.
        title: The title on the first page.

    Raises:
        ScorePagesError: The pages could not be drawn.
    """
    score = arrange(transcription.notes, transcription.musical_time)
    sections = split_score(score, BARS_PER_SECTION)
    software = f"MT3 {transcription.model.code_version}"
    with tempfile.TemporaryDirectory(prefix="mt3-score-") as name:
        folder = Path(name)
        (folder / "title.txt").write_text(printable_title(title), encoding="utf-8")
        for number, section in enumerate(sections):
            content = write_musicxml(section, title="", software=software)
            (folder / f"{number}.musicxml").write_bytes(content)
        _run(folder, timeout_seconds=_SECONDS_PER_SECTION * len(sections))
        return (folder / "score.pdf").read_bytes()


def _run(folder: Path, *, timeout_seconds: float) -> None:
    command = [sys.executable, "-m", "mt3_model.export.engraving", str(folder)]
    try:
        subprocess.run(  # noqa: S603 (no input in it)
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
        )
    except (OSError, subprocess.SubprocessError) as error:
        words: bytes = getattr(error, "stderr", None) or b""
        error.add_note(words.decode("utf-8", "replace"))
        raise ScorePagesError(
            "the process that draws the score's pages failed or took too long; try again, or ask"
            " for musicxml and draw it with a notation program"
        ) from error
