"""`mt3 jobs fetch`: write the results of jobs to files, named as `mt3 transcribe` names them.

A result whose file exists is not fetched again, and each file is written atomically, so running the
command again resumes an interrupted fetch. Item names come from the network and become paths, so
every part that could lead out of the folder is removed.
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
from service.commands.option_names import name_options
from service.commands.result_files import is_complete, write_whole
from service.commands.result_plan import FORMAT_SUFFIXES, name_results
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain, say

IN_FLIGHT = 8
"""Concurrent requests: results are small, so the round trips take the time."""
_MAX_NAME_BYTES = 200
"""Longest part of a path; file systems allow 255, and a suffix needs some of them."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
"""Characters that some file systems do not allow in names."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """An item and the path of its result."""

    job_id: str
    item: JobItem
    target: Path

    def describe(self) -> str:
        return f"{self.job_id}: {self.item.name or f'item {self.item.number}'}"


async def fetch_results(client: AsyncClient, parsed: argparse.Namespace) -> int:
    """Fetch the results that exist and were not fetched before.

    Args:
        client: an open client.
        parsed: the command line.

    Returns:
        The exit code: 1 if an item has no result (yet) or a result could not be written.
    """
    form = await _choose_format(client, parsed)
    items = [(job_id, item) for job_id in parsed.ids async for item in client.items(job_id)]
    paths = result_paths([item for _, item in items], FORMAT_SUFFIXES[form])
    results = [
        _Result(job_id=job_id, item=item, target=parsed.output / path)
        for (job_id, item), path in zip(items, paths, strict=True)
    ]
    ready = [result for result in results if result.item.status == "succeeded"]
    waiting = [result for result in ready if not is_complete(result.target)]
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
        + (f", {there} already existed" if there else "")
        + (f", {unfinished} items not done yet" if unfinished else "")
    )
    return EXIT_FAILED if failed or len(ready) < len(results) else EXIT_DONE


async def _choose_format(client: AsyncClient, parsed: argparse.Namespace) -> ResponseFormat:
    """Return the format of `--format`, else that of the first job, else MIDI."""
    form: str = parsed.format or (await client.job(parsed.ids[0])).response_format or "midi"
    if form not in FORMAT_SUFFIXES:
        raise OptionError("format", f"the job's format {form!r} is unknown here; give a --format")
    return cast("ResponseFormat", form)


def result_paths(items: Sequence[JobItem], suffix: str) -> list[Path]:
    """Return the path of each item's result below the folder, after its recording's name."""
    # Items of one name (from two jobs, for example) are numbered. Names are compared without case,
    # as some file systems do.
    taken: set[str] = set()
    paths: list[Path] = []
    for name in name_results([_relative_path(item) for item in items], suffix):
        path = name
        for nth in itertools.count(2):
            if str(path).casefold() not in taken:
                break
            path = name.with_name(f"{name.name.removesuffix(suffix)}.{nth}{suffix}")
        taken.add(str(path).casefold())
        paths.append(path)
    return paths


def _relative_path(item: JobItem) -> Path:
    """Return an item's name as a path that cannot leave the folder."""
    parts = [_safe(part) for part in (item.name or "").split("/")]
    parts = [part for part in parts if part]
    return Path(*parts) if parts else Path(f"item-{item.number:06d}")


def _safe(part: str) -> str:
    """Return one part of a path with safe characters only; empty if nothing is left."""
    part = _UNSAFE.sub("_", part).strip(" ")
    if not part.strip("."):
        return ""
    if len(part.encode()) <= _MAX_NAME_BYTES:
        return part
    stem, suffix = Path(part).stem, Path(part).suffix[:10]
    return stem.encode()[: _MAX_NAME_BYTES - 40].decode(errors="ignore") + suffix


def _to_json(result: _Result) -> str:
    """Return a written result as a JSON line, for scripts."""
    number, name = result.item.number, result.item.name
    document = {"job": result.job_id, "number": number, "name": name, "path": str(result.target)}
    return json.dumps(document, ensure_ascii=False)


async def _write_all(
    client: AsyncClient, results: Sequence[_Result], form: ResponseFormat, *, as_json: bool
) -> int:
    """Fetch and write results, several at a time; return the number that failed."""
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
                for warning in result.item.warnings:
                    complain(f"{result.describe()}: warning: {name_options(warning.message)}")

    async with asyncio.TaskGroup() as group:
        for _ in range(min(IN_FLIGHT, len(results))):
            group.create_task(work())
    return failed
