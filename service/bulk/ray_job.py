"""The bulk job on Ray Data; the one module that imports Ray (the extra `ray`).

    pages of keys             one task, a stream: Ray asks for more when the next step has room
    -> keys that are left     tasks without a device (`listing.py`)
    -> UnitWorker             actors with a device each; several units at once in each
    -> counts                 here, as the units end

Ray carries only keys and counts; recordings and results go between the storage and the actors. Ray
reruns tasks when a worker or a machine dies, and restarts dead actors without limit; the check of
the outputs prevents repeated work. Each page and each unit is a separate block, so that Ray
distributes them at once.
"""

import asyncio
import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

from mt3_model.audio.recording import ReadingLimits
from mt3_model.spec import MT3
from service.bulk.bulk_plan import BulkPlan, PoolPlan, suitable_in_flight
from service.bulk.device import BulkDevice, Load
from service.bulk.listing import check_page, list_recordings, split_pages
from service.bulk.summary import Summary
from service.bulk.sweeping import sweep
from service.storage.objects import open_objects

# No telemetry; Ray reads this when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pyarrow as pa  # pyright: ignore[reportMissingImports]  # an extra
import ray  # pyright: ignore[reportMissingImports]  # the same
import ray.data  # pyright: ignore[reportMissingImports]  # the same

_UNITS_AT_ONCE = 3
"""Units of one actor at once: while the last recordings of one end, the next fill the slots."""
_CHECKS_AT_ONCE = 4
_STARTS = 3
"""Attempts to start Ray on this machine."""
_LATE = "timed out during startup"
"""A part of the message with which Ray's start fails on a busy machine."""
_SLOTS = {"accelerator": 512, "cpu": 32}
"""The defaults of `mt3_model/generation/shapes.py`, for the size of units only: a wrong size costs
little, and the actors use the slots of their devices."""
_SEGMENT_SECONDS = MT3.segment_seconds
Show = Callable[[Summary], None]


def run_bulk(
    plan: BulkPlan, pool: PoolPlan, load: Load, limits: ReadingLimits, show: Show
) -> Summary:
    """Run the job to its end.

    Args:
        plan: the plan of the run.
        pool: the number of actors and their resources.
        load: loads the model, in each actor.
        limits: limits on reading recordings.
        show: called with the counts as units end.

    Raises:
        RuntimeError: from Ray: the model cannot be loaded, or a storage did not answer for minutes.
    """
    began = time.monotonic()
    summary = Summary()
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Warnings that there are fewer pages than tasks could run, and about deprecations in Ray.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
    with _cluster(pool):
        rows = _build(plan, pool, load, limits)
        for row in rows:
            summary = summary.plus(row)
            show(summary.after(time.monotonic() - began))
        _run_in_task(_sweep, plan)
    return summary.after(time.monotonic() - began)


def _build(
    plan: BulkPlan, pool: PoolPlan, load: Load, limits: ReadingLimits
) -> Iterator[dict[str, Any]]:
    resources, actors = _resources(pool)
    is_accelerated = bool(resources.get("num_gpus") or resources.get("resources"))
    slots = _SLOTS["accelerator" if is_accelerated else "cpu"]
    unit_size = plan.in_flight or suitable_in_flight(slots, _SEGMENT_SECONDS)
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    pages = ray.data.from_items([{"start": 0}]).map_batches(
        _list, batch_size=1, batch_format="pyarrow", fn_kwargs={"plan": plan, "size": unit_size},
        num_cpus=0, compute=ray.data.TaskPoolStrategy(size=1),
    )  # fmt: skip
    checked = pages.map_batches(
        _check, batch_size=1, batch_format="pyarrow", fn_kwargs={"plan": plan, "size": unit_size},
        num_cpus=0, compute=ray.data.TaskPoolStrategy(size=_CHECKS_AT_ONCE),
    )  # fmt: skip
    counts = checked.map_batches(
        _Transcribing, batch_size=1, batch_format="pyarrow",
        fn_constructor_args=(plan, load, limits),
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=actors, initial_size=actors,
            max_tasks_in_flight_per_actor=2 * _UNITS_AT_ONCE,
            max_concurrent_calls_per_actor=_UNITS_AT_ONCE, enable_true_multi_threading=True,
        ),
        **resources,
    )  # fmt: skip
    for table in counts.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from table.to_pylist()


def _list(_: Any, *, plan: BulkPlan, size: int) -> Generator[Any]:
    for page in split_pages(list_recordings(plan), size):
        yield pa.table({"page": [page]})


def _check(pages: Any, *, plan: BulkPlan, size: int) -> Any:
    (page,) = pages["page"].to_pylist()
    outputs = open_objects(plan.output_url, any_key=True)
    checked = asyncio.run(check_page(outputs, plan, page, size))
    return pa.table(
        {
            "listed": [checked.listed],
            "skipped": [checked.skipped],
            "failed_before": [checked.failed_before],
            "units": pa.array(
                [[list(unit) for unit in checked.units]], pa.list_(pa.list_(pa.string()))
            ),
        }
    )


class _Transcribing:
    """The actor: a device, and pages of units for it. Ray calls it from several threads."""

    def __init__(self, plan: BulkPlan, load: Load, limits: ReadingLimits) -> None:
        self._device = BulkDevice(plan, load, limits)

    def __call__(self, pages: Any) -> Generator[Any]:
        (page,) = pages.to_pylist()
        units: list[list[str]] = page.pop("units")
        # The page's own counts are added to its first unit.
        for unit in units:
            outcome = self._device.do(unit)
            yield pa.table(
                {
                    "listed": [page.pop("listed", 0)],
                    "skipped": [page.pop("skipped", 0)],
                    "failed_before": [page.pop("failed_before", 0)],
                    "done": [outcome.done],
                    "failed": [outcome.failed],
                    "postponed": [outcome.postponed],
                    "audio_seconds": [outcome.audio_seconds],
                }
            )


def _sweep(plan: BulkPlan) -> None:
    asyncio.run(sweep(plan))


def _run_in_task(function: Callable[[BulkPlan], None], plan: BulkPlan) -> None:
    ray.get(ray.remote(num_cpus=0)(function).remote(plan))


@contextlib.contextmanager
def _cluster(pool: PoolPlan) -> Generator[None]:
    address = pool.address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        yield  # the user's own cluster, left as it is
        return
    if address is None:
        _start_local(pool)
    else:
        ray.init(address=address, logging_level="warning")
    try:
        yield
    finally:
        ray.shutdown()


def _start_local(pool: PoolPlan) -> None:
    """Start Ray on this machine; on a busy one, its own limit of 30 s may need several attempts."""
    for attempt in range(_STARTS):
        try:
            ray.init(
                address="local", include_dashboard=False, logging_level="warning",
                object_store_memory=pool.object_store_bytes,
            )  # fmt: skip
        except Exception as error:  # Ray has no class for it
            if _LATE not in str(error) or attempt == _STARTS - 1:
                raise
            ray.shutdown()
        else:
            return


def _resources(pool: PoolPlan) -> tuple[dict[str, Any], int]:
    """Return the resources of each actor, and the number of actors."""
    there: dict[str, float] = ray.cluster_resources()
    gpus, tpus = pool.gpus, pool.tpus
    if gpus is None and tpus is None:
        gpus = 1.0 if there.get("GPU") else None
        tpus = 1.0 if gpus is None and there.get("TPU") else None
    resources: dict[str, Any] = {"num_cpus": pool.cpus}
    fitting = 1
    if gpus:
        resources["num_gpus"] = gpus
        fitting = int(there.get("GPU", 0.0) / gpus)
    if tpus:
        resources["resources"] = {"TPU": tpus}
        fitting = int(there.get("TPU", 0.0) / tpus)
    return resources, pool.actors or max(fitting, 1)
