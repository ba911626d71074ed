"""MusicXML files -> one PDF: the program of the process that `score_pages.py` starts.

verovio draws each file as SVG pages, and typst sets the pages, the title and the page numbers as a
PDF, with its own fonts, so that the result does not depend on those of the machine. They have no
Chinese, Japanese, Korean or Thai letters, and Arabic ones only unjoined. If the title or a part's
name has letters of scripts other than Latin, Greek and Cyrillic, typst also searches the fonts of
the machine; a letter that these lack too is drawn as an empty box. No font is shipped for them: one
for Chinese, Japanese and Korean takes 20 MB.

    python -m mt3_model.export.engraving FOLDER

reads ``0.musicxml``, ``1.musicxml`` ... and ``title.txt`` in the folder and writes ``score.pdf``.
An exit status other than 0 means that the pages could not be drawn.
"""

import re
import sys
from pathlib import Path

import typst
import verovio

_PAGE_WIDTH, _PAGE_HEIGHT = 2100, 2970
"""A4 in tenths of a millimeter."""
_TOP_MARGIN, _SIDE_MARGIN, _BOTTOM_MARGIN = 160, 120, 140
_UNITS_BY_STAVES = ((3, 9.0), (6, 7.5), (10, 6.5))
"""Half the distance between staff lines, in tenths of a millimeter, for up to this number of
staves: the usual 7 mm staff for a soloist, down to 4.4 mm in a full score."""
_SMALLEST_UNIT = 5.5
_FONT = "Libertinus Serif"
"""One of typst's own. It is named everywhere, so that others are used only for what it lacks."""
_OTHER_SCRIPTS = re.compile(r"[^\u0000-\u052f\u1e00-\u2bff\ue000-\uf8ff]")
"""A character outside Unicode's blocks of Latin, Greek, Cyrillic, signs and private use, in which
music fonts have theirs. Source: Blocks.txt of Unicode 16."""
_PAGE_LAYOUT = f"""\
#set document(title: read("title.txt"), date: none)
#set page(width: 210mm, height: 297mm, margin: 0mm)
#set text(font: "{_FONT}", size: 9pt)
#let name = read("title.txt")
#let size = if name.len() > 60 {{ 9pt }} else {{ 18pt }}
#let words = align(center, text(size: size, name))
#let title = place(top + center, dy: 9mm, block(width: 180mm, words))
"""
_SVG_FONT = '"Times, serif"'
"""The font that verovio names; some machines have it."""
# verovio writes the notes of tempo marks in a font that only its own SVG has.
_TEMPO_NOTES = {"\ueca3": "half note", "\ueca5": "♩", "\ueca7": "♪", "\uecb7": "."}
_TEMPO_NOTE_TEXT = re.compile(
    r'<tspan font-family="Leipzig" font-size="\d+px">([\ueca3\ueca5\ueca7\uecb7 ]+)</tspan>'
)
_TEMPO_NOTE_SIZE = 520


class EngravingError(Exception):
    """verovio rejected a MusicXML file."""


def engrave(folder: Path) -> None:
    """Write ``score.pdf`` of the MusicXML files in a folder.

    Raises:
        EngravingError: A file is not valid MusicXML.
    """
    count = 0
    layout = [_PAGE_LAYOUT]
    has_other_scripts = needs_machine_fonts((folder / "title.txt").read_text("utf-8"))
    for number in range(len(list(folder.glob("*.musicxml")))):
        for page in _draw_pages((folder / f"{number}.musicxml").read_text("utf-8")):
            (folder / f"{count}.svg").write_text(page, "utf-8")
            has_other_scripts = has_other_scripts or needs_machine_fonts(page)
            layout.append(
                f"#page[{'#title' if count == 0 else ''}"
                f"#place(bottom + center, dy: -7mm)[{count + 1}]"
                f'#image("{count}.svg", width: 210mm)]'
            )
            count += 1
    (folder / "score.typ").write_text("\n".join(layout), "utf-8")
    typst.compile(
        folder / "score.typ",
        output=folder / "score.pdf",
        root=folder,
        ignore_system_fonts=not has_other_scripts,
    )


def needs_machine_fonts(text: str) -> bool:
    """Whether a text has letters that typst's own fonts may lack."""
    return _OTHER_SCRIPTS.search(text) is not None


def _draw_pages(musicxml: str) -> list[str]:
    """Draw the pages of one file as SVG."""
    staves = musicxml.count("<sign>", 0, musicxml.find("</measure>") + 1)
    staves = max(staves, musicxml.count("<score-part "))
    toolkit = verovio.toolkit()
    toolkit.setOptions(
        {
            "pageWidth": _PAGE_WIDTH, "pageHeight": _PAGE_HEIGHT, "unit": _unit(staves),
            "pageMarginTop": _TOP_MARGIN, "pageMarginBottom": _BOTTOM_MARGIN,
            "pageMarginLeft": _SIDE_MARGIN, "pageMarginRight": _SIDE_MARGIN,
            "header": "none", "footer": "none", "smuflTextFont": "none",
            "condenseNotLastSystem": True,
        }
    )  # fmt: skip
    if not toolkit.loadData(musicxml):
        raise EngravingError(toolkit.getLog())
    return [
        _TEMPO_NOTE_TEXT.sub(
            _replace_tempo_note, toolkit.renderToSVG(page).replace(_SVG_FONT, f'"{_FONT}"', 1)
        )
        for page in range(1, toolkit.getPageCount() + 1)
    ]


def _unit(staves: int) -> float:
    return next((unit for most, unit in _UNITS_BY_STAVES if staves <= most), _SMALLEST_UNIT)


def _replace_tempo_note(match: re.Match[str]) -> str:
    # A dotted note is two characters with a space between them.
    note = "".join(_TEMPO_NOTES[character] for character in match[1].replace(" ", ""))
    return f'<tspan font-size="{_TEMPO_NOTE_SIZE}px">{note}</tspan>'


if __name__ == "__main__":
    engrave(Path(sys.argv[1]))
