"""`mt3 jobs fetch`: the results of jobs -> files, named as `mt3 transcribe` names them.

A file that has its name already is not fetched again, and each is written beside its name first:
a fetch that was interrupted is resumed by being asked for again. Items' names come over the network
and are used as paths here, so that whatever could lead out of the folder is taken from them.
"""

import argparse
import asyncio
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from mt3_model.errors import OptionError
from service.client import AsyncClient, JobItem, MT3ClientError, ResponseFormat
from service.commands.result_files import is_there, write_whole
from service.commands.result_plan import FORMAT_SUFFIXES, name_results
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain, say

IN_FLIGHT = 8
"""Results asked for at a time: small answers, whose round trips are what takes time."""
_MAX_NAME_BYTES = 200
"""Of one part of a path; file systems take 255, and a suffix and the name beside it need some."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
"""What some system's file names cannot hold."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """An item, and where its result goes."""

    job_id: str
    item: JobItem
    target: Path

    def describe(self) -> str:
        return f"{self.job_id}: {self.item.name or f'item {self.item.number}'}"


async def fetch_results(client: AsyncClient, parsed: argparse.Namespace) -> int:
    """Writes what is there and was not fetched yet.

    Args:
        client: Connected.
        parsed: The command line.

    Returns:
        The exit code: 1 where an item has no result (yet), or one could not be written.
    """
    form = await _form_of(client, parsed)
    items = [(job_id, item) for job_id in parsed.ids async for item in client.items(job_id)]
    places = place_results([item for _, item in items], FORMAT_SUFFIXES[form])
    results = [
        _Result(job_id=job_id, item=item, target=parsed.output / place)
        for (job_id, item), place in zip(items, places, strict=True)
    ]
    ready = [result for result in results if result.item.status == "succeeded"]
    waiting = [result for result in ready if not is_there(result.target)]
    for result in results:
        if result.item.is_ended and result.item.status != "succeeded":
            error = result.item.error
            reason = result.item.status if error is None else f"{error.message} ({error.code})"
            complain(f"{result.describe()}: {reason}")
    failed = await _write_all(client, waiting, form, as_json=parsed.json)
    unfinished = sum(not result.item.is_ended for result in results)
    there = len(ready) - len(waiting)
    complain(
        f"{len(waiting) - failed} results written to {parsed.output}"
        + (f", {there} were there" if there else "")
        + (f", {unfinished} items are not done yet" if unfinished else "")
    )
    return EXIT_FAILED if failed or len(ready) < len(results) else EXIT_DONE


async def _form_of(client: AsyncClient, parsed: argparse.Namespace) -> ResponseFormat:
    """The form asked for now, else when the first job was submitted, else MIDI."""
    form: str = parsed.format or (await client.job(parsed.ids[0])).response_format or "midi"
    if form not in FORMAT_SUFFIXES:
        raise OptionError("format", f"the job's form {form!r} is not known here; name a --format")
    return cast("ResponseFormat", form)


def place_results(items: Sequence[JobItem], suffix: str) -> list[Path]:
    """Says where each item's result goes, below the folder: as its recording was called."""
    named = name_results([_place_of(item) for item in items], suffix)
    # Two items of one name (of two jobs, or submitted so) are told apart by their place in line.
    # Case does not count: on some systems' disks these are one file.
    taken: set[str] = set()
    places: list[Path] = []
    for named_so in named:
        place = named_so
        for nth in itertools.count(2):
            if str(place).casefold() not in taken:
                break
            place = named_so.with_name(f"{named_so.name.removesuffix(suffix)}.{nth}{suffix}")
        taken.add(str(place).casefold())
        places.append(place)
    return places


def _place_of(item: JobItem) -> Path:
    """An item's name as a path that stays where it is put."""
    parts = [_safe(part) for part in (item.name or "").split("/")]
    parts = [part for part in parts if part]
    return Path(*parts) if parts else Path(f"item-{item.number:06d}")


def _safe(part: str) -> str:
    """One part of a path, as every system can write it; empty where nothing is left."""
    part = _UNSAFE.sub("_", part).strip(" ")
    if not part.strip("."):
        return ""
    if len(part.encode()) <= _MAX_NAME_BYTES:
        return part
    stem, suffix = Path(part).stem, Path(part).suffix[:10]
    return stem.encode()[: _MAX_NAME_BYTES - 40].decode(errors="ignore") + suffix


def _to_json(result: _Result) -> str:
    """What was written, for scripts."""
    number, name = result.item.number, result.item.name
    document = {"job": result.job_id, "number": number, "name": name, "path": str(result.target)}
    return json.dumps(document, ensure_ascii=False)


async def _write_all(
    client: AsyncClient, results: Sequence[_Result], form: ResponseFormat, *, as_json: bool
) -> int:
    """Fetches several at a time; returns how many could not be had."""
    failed = 0
    left: Iterator[_Result] = iter(results)

    async def work() -> None:
        nonlocal failed
        for result in left:
            try:
                content = await client.result_to(result.job_id, result.item.number, form)
                await asyncio.to_thread(write_whole, content, result.target)
            except (MT3ClientError, OSError) as error:
                failed += 1
                complain(f"{result.describe()}: {error}")
            else:
                if as_json:
                    say(_to_json(result))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(IN_FLIGHT, len(results))):
            group.create_task(work())
    return failed
