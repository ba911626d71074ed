"""Remove what runs leave in the output besides results and error records.

These are marks of running units (`unit_worker.py`) and, in a local folder, partial objects. A run
removes its own at its end, and those of killed runs after a day, because another run may use the
same output.
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
"""Names of marks. Results of inputs in folders of the same name have suffixes and do not match."""


async def sweep(plan: BulkPlan) -> None:
    """Delete the marks of this run and those of runs a day old.

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
