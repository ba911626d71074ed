"""All results of a job -> one zip, written while it is sent.

A job of ten thousand recordings is read from the storage item by item: each result is written in
the requested format, compressed, sent and released, so that memory holds one at a time. In addition
to the results, `items.jsonl` has a line for each item with the name of its file, or with the reason
why there is none.

Files are named after their recordings, with the suffix of the format. The caller's name of a
recording is text and never a path: folders become part of the name, and nothing is left that an
unpacking program could take for a path, a device or another entry.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable

from zipstream import ZIP_DEFLATED, ZipStream

from mt3_model.export.formats import ExportFormat
from mt3_model.export.strict_json import write_json
from service.api.uploads.file_names import safe_stem
from service.jobs.documents import describe_item
from service.jobs.job import Item, JobState

ITEMS_ENTRY = "items.jsonl"
_COMPRESSION = 6


class EntryNames:
    """The names of the files in one archive, each of them unique."""

    def __init__(self) -> None:
        """Reserve the name of the list of items."""
        self._taken = {ITEMS_ENTRY}

    def add(self, item: Item, suffix: str) -> str:
        """Choose and reserve the name of an item's file.

        Args:
            item: the item, with the name that its owner gave it.
            suffix: the suffix of the format, with its dot.
        """
        stem = safe_stem(item.name) or f"{item.number:06d}"
        name, count = f"{stem}{suffix}", 1
        while name.casefold() in self._taken:  # many file systems ignore case
            count += 1
            name = f"{stem}-{count}{suffix}"
        self._taken.add(name.casefold())
        return name


async def write_archive(
    items: AsyncIterator[Item],
    export_format: ExportFormat,
    read_result: Callable[[Item], Awaitable[bytes]],
) -> AsyncGenerator[bytes]:
    """Write the archive, piece by piece.

    Args:
        items: all items of the job.
        export_format: the format of the results.
        read_result: returns the result of an item in that format.
    """
    archive = ZipStream(compress_type=ZIP_DEFLATED, compress_level=_COMPRESSION)
    names = EntryNames()
    listed: list[bytes] = []
    async for item in items:
        entry = None
        if item.state is JobState.SUCCEEDED:
            entry = names.add(item, export_format.suffix)
            archive.add(await read_result(item), entry)
            for piece in await asyncio.to_thread(_gather, archive.all_files()):
                yield piece
        line = {"file": entry, **describe_item(item).model_dump(mode="json")}
        listed.append(write_json(line).encode() + b"\n")
    archive.add(b"".join(listed), ITEMS_ENTRY)
    for piece in await asyncio.to_thread(_gather, archive.finalize()):
        yield piece


def _gather(pieces: Iterable[bytes]) -> list[bytes]:
    return list(pieces)
