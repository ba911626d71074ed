"""Turn a client's file name into one that is safe to store, and safe for a result on any disk.

A client's file name is text, never a path. It is stored with unprintable characters replaced. A
result named after it has no folders, no control characters, nothing that Windows refuses and no
trailing dots or spaces.
"""

import re
from pathlib import PurePosixPath
from urllib.parse import quote

from mt3_model.export.formats import ExportFormat

_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
_KEPT_CHARACTERS = 255
"""Longest name stored: the limit of most file systems."""
_SHOWN_TYPE = "application/json"
"""Media type of results that a browser shows."""
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
"""Characters that Windows allows in no file name."""
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
_STEM_BYTES = 120
"""UTF-8 bytes of a stem. With a number and a suffix a name stays below 143 bytes, the smallest
limit of file systems in use (eCryptfs, on many network disks; others allow 255)."""


def kept_name(given: str) -> str | None:
    """Return a name as it is stored: printable and of bounded length; None if nothing is left."""
    name = "".join(c if c.isprintable() else _UNPRINTABLE for c in given).strip()
    return name[-_KEPT_CHARACTERS:] or None


def safe_stem(name: str | None) -> str:
    """Return a name without its suffix that is safe on every file system; may be empty."""
    parts = [part.strip(" .") for part in re.split(r"[/\\]", name or "")]
    joined = "_".join(part for part in parts if part)
    stem = PurePosixPath(joined).stem if joined else ""
    stem = _FORBIDDEN.sub("_", stem)
    stem = "".join(c if c.isprintable() and c != _UNPRINTABLE else "_" for c in stem)
    stem = stem.encode("utf-8", "replace")[:_STEM_BYTES]
    stem = stem.decode("utf-8", "ignore").strip(" .")
    return f"_{stem}" if stem.casefold().partition(".")[0] in _RESERVED else stem


def content_disposition(name: str | None, form: ExportFormat, *, otherwise: str) -> str:
    """Write the header ``Content-Disposition`` of a result (RFC 6266).

    JSON documents are ``inline``, so that a browser shows them; every other format is an
    ``attachment``, which a browser saves. Both carry the file name.

    Args:
        name: The recording's name.
        form: The result's format.
        otherwise: The result's name without suffix, used where the recording has no usable name.
    """
    disposition = "inline" if form.media_type == _SHOWN_TYPE else "attachment"
    full = f"{safe_stem(name) or otherwise}{form.suffix}"
    # "%" is replaced because some programs percent-decode the plain form.
    plain = "".join(c if c.isascii() and c != "%" else "_" for c in full)
    header = f'{disposition}; filename="{plain}"'
    return header if plain == full else f"{header}; filename*=UTF-8''{quote(full, safe='')}"
