"""All results of a job -> one zip, written while it is sent.

A job of ten thousand recordings is read from the storage item by item, each result is written in
the form asked for, compressed, sent and forgotten: memory holds one. Beside the results lies
`items.jsonl`, a line for each item with the name of its file, or why there is none.

Names are the inputs' with the form's suffix. What a caller called a recording is text and no path:
folders become part of the name, and nothing is left that an unpacking program could take for a
place, a device or another entry.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable

from zipstream import ZIP_DEFLATED, ZipStream

from mt3_model.export.formats import ExportFormat
from mt3_model.export.strict_json import write_json
from service.api.uploads.file_names import safe_stem
from service.jobs.documents import item_document
from service.jobs.job import Item, JobState

ITEMS_ENTRY = "items.jsonl"
_COMPRESSION = 6


class EntryNames:
    """Gives each result a name of its own in the archive."""

    def __init__(self) -> None:
        """Begins with none but that of the list."""
        self._taken = {ITEMS_ENTRY}

    def take(self, item: Item, suffix: str) -> str:
        """Gives an item's.

        Args:
            item: With the name its owner gave.
            suffix: Of the form, with its dot.
        """
        stem = safe_stem(item.name) or f"{item.number:06d}"
        name, count = f"{stem}{suffix}", 1
        while name.casefold() in self._taken:  # file systems that ignore case are common
            count += 1
            name = f"{stem}-{count}{suffix}"
        self._taken.add(name.casefold())
        return name


async def write_archive(
    items: AsyncIterator[Item], form: ExportFormat, content_of: Callable[[Item], Awaitable[bytes]]
) -> AsyncGenerator[bytes]:
    """Writes the archive, piece by piece.

    Args:
        items: All of the job's.
        form: Of the results.
        content_of: Gives a result in that form.
    """
    archive = ZipStream(compress_type=ZIP_DEFLATED, compress_level=_COMPRESSION)
    names = EntryNames()
    listed: list[bytes] = []
    async for item in items:
        entry = None
        if item.state is JobState.SUCCEEDED:
            entry = names.take(item, form.suffix)
            archive.add(await content_of(item), entry)
            for piece in await asyncio.to_thread(_gather, archive.all_files()):
                yield piece
        line = {"file": entry, **item_document(item)}
        listed.append(write_json(line).encode() + b"\n")
    archive.add(b"".join(listed), ITEMS_ENTRY)
    for piece in await asyncio.to_thread(_gather, archive.finalize()):
        yield piece


def _gather(pieces: Iterable[bytes]) -> list[bytes]:
    return list(pieces)
