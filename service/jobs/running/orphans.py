"""Removes objects that belong to no job: uploads never submitted, results never noted.

A killed process leaves them, and they are few. Where most of what the storage holds belongs to no
job, it is rather the database that lacks rows (an old backup, a table emptied), and nothing is
removed: space can be had back later, recordings cannot.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Collection

from service.jobs.job import job_prefix
from service.jobs.store.storage_binding import JOBS_PREFIX
from service.storage.objects import Objects

_ASKED_AT_ONCE = 1_000
_MOST_UNKNOWN_UPLOADS = 10
"""Folders of uploads without results that a killed process may well have left behind."""
_RESULTS = "results"


@dataclasses.dataclass(slots=True)
class JobFolder:
    """The objects of one job in the storage, known to the database or not."""

    is_old: bool = False
    """Whether it has an object older than any upload in progress."""
    has_results: bool = False

    def add(self, key: str, *, is_old: bool) -> None:
        """Counts one of its objects."""
        self.is_old = self.is_old or is_old
        self.has_results = self.has_results or key.split("/")[2:3] == [_RESULTS]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OrphansRemoved:
    """The result of a search of the whole storage for orphans."""

    removed: int
    """Number of objects removed."""
    fault: str | None = None
    """The reason why objects of jobs were kept."""


async def remove_orphans(
    objects: Objects,
    existing: Callable[[list[str]], Awaitable[set[str]]],
    *,
    before: float,
    temporary_prefixes: Collection[str],
    is_adopted: bool,
) -> OrphansRemoved:
    """Removes what belongs to no job, unless that is most of what there is.

    Args:
        objects: the storage.
        existing: returns which of some jobs are in the database.
        before: Written before then; later ones may be of an upload under way. Seconds since 1970.
        temporary_prefixes: prefixes of objects that are being written.
        is_adopted: whether the operator allows everything without a job to be removed.
    """
    folders: dict[str, JobFolder] = {}
    async for found in objects.list_prefix(JOBS_PREFIX):
        folder = folders.setdefault(found.key.split("/")[1], JobFolder())
        folder.add(found.key, is_old=found.modified_at < before)
    job_ids = list(folders)
    known: set[str] = set()
    for begin in range(0, len(job_ids), _ASKED_AT_ONCE):
        known |= await existing(job_ids[begin : begin + _ASKED_AT_ONCE])
    lost = [job_id for job_id in job_ids if folders[job_id].is_old and job_id not in known]
    count = 0
    fault = None
    if are_suspicious([folders[job_id] for job_id in lost], len(folders)) and not is_adopted:
        fault = (
            f"{len(lost)} of the {len(folders)} jobs that have objects in the storage are not in"
            " the database, so none was removed: restore the database's backup, or, if these"
            " objects are not wanted any more, start once with MT3_ADOPT_STORAGE=true"
        )
    else:
        for job_id in lost:
            count += await objects.delete_prefix(job_prefix(job_id))
    for prefix in temporary_prefixes:
        stale = [f.key async for f in objects.list_prefix(prefix) if f.modified_at < before]
        for key in stale:
            await objects.delete(key)
        count += len(stale)
    return OrphansRemoved(removed=count, fault=fault)


def are_suspicious(lost: Collection[JobFolder], stored: int) -> bool:
    """Return whether it is rather the database that lacks rows than the storage that has too much.

    Uploads that were never submitted lie about without results, and are few. Results are written
    for jobs that the database knew.

    Args:
        lost: objects of no job in the database.
        stored: How many jobs the storage holds something of.
    """
    are_most = 2 * len(lost) > stored
    return are_most and (
        any(folder.has_results for folder in lost) or len(lost) > _MOST_UNKNOWN_UPLOADS
    )
