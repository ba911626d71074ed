"""Remove objects that belong to no job: uploads never submitted, results never recorded.

A killed process leaves a few of them. If most objects belong to no job, the database probably lacks
rows (an old backup, an emptied table), and nothing is removed: a recording cannot be restored.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Collection

from service.jobs.job import job_prefix
from service.jobs.store.storage_binding import JOBS_PREFIX
from service.storage.objects import Objects

_ASKED_AT_ONCE = 1_000
_MOST_UNKNOWN_UPLOADS = 10
"""Maximum number of folders of uploads without results that killed processes plausibly left."""
_RESULTS = "results"


@dataclasses.dataclass(slots=True)
class JobFolder:
    """The objects of one job in the storage, known to the database or not."""

    is_old: bool = False
    """Whether it has an object older than any upload in progress."""
    has_results: bool = False

    def add(self, key: str, *, is_old: bool) -> None:
        """Add one of its objects."""
        self.is_old = self.is_old or is_old
        self.has_results = self.has_results or key.split("/")[2:3] == [_RESULTS]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OrphansRemoved:
    """The result of a search of the whole storage for orphans."""

    removed: int
    """Number of objects removed."""
    fault: str | None = None
    """The reason why orphans were kept; None if they were removed."""


async def remove_orphans(
    objects: Objects,
    existing: Callable[[list[str]], Awaitable[set[str]]],
    *,
    before: float,
    temporary_prefixes: Collection[str],
    is_adopted: bool,
) -> OrphansRemoved:
    """Remove objects that belong to no job, unless most objects belong to none.

    Args:
        objects: the storage.
        existing: returns which of some jobs are in the database.
        before: remove only objects written before this time, in seconds since 1970; later ones may
            be of an upload in progress.
        temporary_prefixes: prefixes of objects that are being written.
        is_adopted: whether the operator has allowed the removal of everything without a job.
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
            " objects are no longer needed, start once with MT3_ADOPT_STORAGE=true"
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
    """Return whether the database probably lacks rows.

    Uploads that were never submitted have no results, and are few. Results are written only for
    jobs that were in the database.

    Args:
        lost: folders of jobs that are not in the database.
        stored: number of jobs with objects in the storage.
    """
    are_most = 2 * len(lost) > stored
    return are_most and (
        any(folder.has_results for folder in lost) or len(lost) > _MOST_UNKNOWN_UPLOADS
    )
