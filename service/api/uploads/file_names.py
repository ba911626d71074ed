"""What a client calls its file -> a name that is safe to keep, and safe for a result on any disk.

A name from outside is text and no path. It is kept printable on the item; a result is named after
it only without folders, control characters, what Windows refuses, and the ends of names that hide
what a file is.
"""

import re
from pathlib import PurePosixPath
from urllib.parse import quote

_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
_KEPT_CHARACTERS = 255
"""Most of a file's name that is kept: as much as file systems take."""
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
"""On Windows, in any file's name."""
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
_STEM_BYTES = 120
"""In UTF-8: with a number and a suffix below 143, the least that file systems in use take for a
name (eCryptfs, as on many network disks; others take 255)."""


def kept_name(given: str) -> str | None:
    """What is kept of a name: printable, not endless; never used as a path."""
    name = "".join(c if c.isprintable() else _UNPRINTABLE for c in given).strip()
    return name[-_KEPT_CHARACTERS:] or None


def safe_stem(name: str | None) -> str:
    """Gives a name without its suffix as one that is safe for a file anywhere; may be empty."""
    parts = [part.strip(" .") for part in re.split(r"[/\\]", name or "")]
    joined = "_".join(part for part in parts if part)
    stem = PurePosixPath(joined).stem if joined else ""
    stem = _FORBIDDEN.sub("_", stem)
    stem = "".join(c if c.isprintable() and c != _UNPRINTABLE else "_" for c in stem)
    stem = stem.encode("utf-8", "replace")[:_STEM_BYTES]
    stem = stem.decode("utf-8", "ignore").strip(" .")
    return f"_{stem}" if stem.casefold().partition(".")[0] in _RESERVED else stem


def attachment(name: str | None, suffix: str, *, otherwise: str) -> str:
    """Writes the header ``Content-Disposition`` of a result (RFC 6266).

    Args:
        name: What the recording is called.
        suffix: Of the result's form, with its dot.
        otherwise: The result's name without suffix, where the recording's gives none.
    """
    full = f"{safe_stem(name) or otherwise}{suffix}"
    # Some programs decode percent signs in it.
    plain = "".join(c if c.isascii() and c != "%" else "_" for c in full)
    header = f'attachment; filename="{plain}"'
    return header if plain == full else f"{header}; filename*=UTF-8''{quote(full, safe='')}"
