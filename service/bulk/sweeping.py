"""Removes what runs leave in the output besides results and error records.

Marks of units under way (`unit_worker.py`) and, in a local folder, objects half written. Those of
this run go at its end; those of runs that were killed when they are a day old, since another run
may be at work in the same output.
"""

import contextlib
import re
import time
import urllib.parse
from pathlib import Path

from service.bulk.bulk_plan import BEGUN_PREFIX, BulkPlan
from service.storage.objects import TEMPORARY_PREFIX, open_objects

_OLD_SECONDS = 86_400
_OURS = re.compile(
    rf"{BEGUN_PREFIX}/[0-9a-f]{{16}}/[0-9a-f]{{32}}|{TEMPORARY_PREFIX}/[0-9a-f]{{32}}"
)
"""Inputs may lie in folders of these names, and so their results do; those have suffixes."""


async def sweep(plan: BulkPlan) -> None:
    """Deletes what this run has left, and what old ones have.

    Raises:
        StorageUnavailableError: The output does not answer, or refuses.
    """
    outputs = open_objects(plan.output_url, any_key=True)
    await outputs.delete_prefix(f"{BEGUN_PREFIX}/{plan.run_id}")
    begun_before = time.time() - _OLD_SECONDS
    for prefix in (BEGUN_PREFIX, TEMPORARY_PREFIX):
        old = [
            stored.key
            async for stored in outputs.list_prefix(prefix)
            if stored.modified_at < begun_before and _OURS.fullmatch(stored.key)
        ]
        for key in old:
            await outputs.delete(key)
        _remove_empty(plan.output_url, prefix)


def _remove_empty(url: str, prefix: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        with contextlib.suppress(OSError):  # not empty, or not there
            (Path(urllib.parse.unquote(parts.path)) / prefix).rmdir()
