"""List the input as pages of keys, and reduce each page to the recordings that are not done.

No process holds all keys: the listing is a stream of pages, and each page is checked against the
output, key by key. Both run in tasks of the cluster.

The number of units of a checked page depends on its keys only, with empty units if necessary: Ray
recomputes lost results by running a task again, and then expects the same number of results, even
if other recordings are done by then.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

from service.bulk.bulk_plan import BulkPlan, error_key
from service.bulk.retry import persist
from service.storage.objects import Objects, open_objects

_CHECKS_AT_ONCE = 64
_SMALL_PAGES = 64
"""The first pages have one unit, so that a small input spreads over all actors; later ones have
``_UNITS_IN_PAGE``, because each page is a Ray task and a long list should have few."""
_UNITS_IN_PAGE = 10
_EXAMPLES = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CheckedPage:
    """The recordings of a page that are not done."""

    listed: int
    skipped: int
    """Recordings with results."""
    failed_before: int
    """Recordings with an error record that are not to be retried."""
    units: tuple[tuple[str, ...], ...]
    """Keys that one actor takes together; the number of units depends on the page's length only."""


def list_recordings(plan: BulkPlan) -> Iterator[str]:
    """Return the keys of the recordings, as the listing comes in; blocks.

    Raises:
        StorageError: The input cannot be opened or listed.
    """
    keys = (stored.key for stored in open_objects(plan.input_url, any_key=True).iterate())
    return itertools.islice(filter(plan.is_wanted, keys), plan.limit)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """Objects of the input whose names match no pattern."""

    count: int
    examples: tuple[str, ...]

    def to_text(self) -> str:
        """Return one line for people."""
        names = ", ".join(self.examples) + (", ..." if self.count > len(self.examples) else "")
        return f"skipped, because their names match no pattern (--pattern): {self.count} ({names})"


def find_passed_over(plan: BulkPlan) -> PassedOver:
    """Count the objects of the input that no pattern matches; blocks.

    Raises:
        StorageError: the input cannot be opened or listed.
    """
    count = 0
    examples: list[str] = []
    for stored in open_objects(plan.input_url, any_key=True).iterate():
        if not plan.is_wanted(stored.key):
            count += 1
            if len(examples) < _EXAMPLES:
                examples.append(stored.key)
    return PassedOver(count=count, examples=tuple(examples))


def split_pages(keys: Iterable[str], unit_size: int) -> Iterator[list[str]]:
    """Split the stream of keys into pages: small ones first, then larger ones."""
    remaining = iter(keys)
    for number in itertools.count():
        size = unit_size * (1 if number < _SMALL_PAGES else _UNITS_IN_PAGE)
        page = list(itertools.islice(remaining, size))
        if not page:
            return
        yield page


async def check_page(
    outputs: Objects, plan: BulkPlan, keys: Sequence[str], unit_size: int
) -> CheckedPage:
    """Check in the output which recordings of a page are done.

    Raises:
        StorageUnavailableError: the output did not respond for minutes.
    """
    asking = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def ask(key: str) -> str:
        async with asking:
            if await persist(lambda: has_results(outputs, plan, key)):
                return "skipped"
            if not plan.retry_failed and await persist(lambda: outputs.exists(error_key(key))):
                return "failed"
            return "left"

    found = dict(zip(keys, await asyncio.gather(*map(ask, keys)), strict=True))
    states = list(found.values())
    return CheckedPage(
        listed=len(keys),
        skipped=states.count("skipped"),
        failed_before=states.count("failed"),
        units=tuple(
            tuple(key for key in keys[begin : begin + unit_size] if found[key] == "left")
            for begin in range(0, len(keys), unit_size)
        ),
    )


async def has_results(outputs: Objects, plan: BulkPlan, key: str) -> bool:
    """Return whether a recording is done: its results exist in every requested form.

    Raises:
        StorageUnavailableError: The store does not answer, or refuses.
    """
    for result in plan.result_keys(key):
        if not await outputs.exists(result):
            return False
    return True
