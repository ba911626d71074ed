"""`mt3 bulk`: transcribe millions of objects on a cluster (`service/bulk`)."""

import argparse
import functools
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import TranscriptionOptions
from service.bulk.bulk_plan import BulkPlan, PoolPlan, refuse_output_in_input, url_of
from service.bulk.listing import find_passed_over, list_recordings
from service.bulk.summary import Summary, read_state
from service.commands.command_settings import read_settings
from service.commands.recording_search import AUDIO_SUFFIXES
from service.commands.result_files import require_writable, write_whole
from service.commands.terminal import EXIT_DONE, EXIT_FAILED, complain, say
from service.errors import StorageError
from service.model_loading import load_model

if TYPE_CHECKING:
    from tqdm import tqdm

_SECRETS = ("api_keys", "webhook_secret", "database_url")
_LINE_SECONDS = 30.0
"""Time between progress lines without a terminal."""


def bulk(parsed: argparse.Namespace) -> int:
    """Transcribe all recordings below a prefix that have no result yet.

    Returns:
        The exit code: 1 if some recordings have no result.

    Raises:
        OptionError: an option has an invalid value.
        StorageError: the input or output cannot be opened or listed.
    """
    require_writable(parsed.json)
    settings = read_settings(parsed, "model", "checkpoint", "precision", "slots")
    plan = _plan(parsed, settings.model)
    if parsed.status:
        say(read_state(plan).to_text())
        _say_passed_over(plan)
        return EXIT_DONE
    try:
        from service.bulk.ray_job import run_bulk  # noqa: PLC0415
    except ModuleNotFoundError as error:
        complain(
            f"{error.name} is not installed, and `mt3 bulk` runs on Ray: install"
            " mt3-service[ray], or use `mt3 jobs`, which needs no Ray"
        )
        return EXIT_FAILED
    pool = PoolPlan(
        actors=parsed.actors,
        cpus=parsed.cpus_per_actor,
        gpus=parsed.gpus_per_actor,
        tpus=parsed.tpus_per_actor,
        address=parsed.address,
        object_store_bytes=parsed.object_store_bytes,
    )
    limits = ReadingLimits(
        max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
    )
    # Keep secrets off other machines and out of what Ray may write to disk.
    secrets_out = {name: None for name in _SECRETS if name in type(settings).model_fields}
    load = functools.partial(load_model, settings.model_copy(update=secrets_out))
    with _ProgressDisplay(plan) as show:
        summary = run_bulk(plan, pool, load, limits, show)
    say(summary.to_text())
    _say_passed_over(plan)
    if parsed.json is not None:
        write_whole(f"{json.dumps(summary.to_json(), indent=2)}\n".encode(), parsed.json)
    return EXIT_DONE if summary.is_complete else EXIT_FAILED


def _say_passed_over(plan: BulkPlan) -> None:
    """Name some of the objects that no pattern matches, because they may still be recordings."""
    passed_over = find_passed_over(plan)
    if passed_over.count:
        complain(passed_over.to_text())


def _plan(parsed: argparse.Namespace, model: str) -> BulkPlan:
    plan = BulkPlan(
        input_url=url_of(parsed.input),
        output_url=url_of(parsed.output),
        patterns=tuple(parsed.pattern or sorted(f"*{suffix}" for suffix in AUDIO_SUFFIXES)),
        options=TranscriptionOptions(
            model=model,
            decoding=parsed.decoding,
            postprocess=parsed.postprocess or "default",
            instruments=tuple(parsed.instruments or ()),
            quality=parsed.quality or "standard",
            quantize=parsed.quantize or "none",
        ),
        forms=tuple(dict.fromkeys(map(ExportFormat, parsed.format or ["midi"]))),
        limit=parsed.limit,
        retry_failed=parsed.retry_failed,
        in_flight=parsed.in_flight,
        run_id=secrets.token_hex(8),
    )
    for name in ("limit", "in_flight", "actors"):
        given = getattr(parsed, name)
        if given is not None and given < 1:
            raise OptionError(name, f"--{name.replace('_', '-')} is {given}; expected 1 or more")
    refuse_output_in_input(plan.input_url, plan.output_url)
    return plan


class _ProgressDisplay:
    """Shows progress by a bar or by lines, while a thread counts the recordings."""

    def __init__(self, plan: BulkPlan) -> None:
        self._plan = plan
        self._total: int | None = None
        self._bar: tqdm[Any] | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Callable[[Summary], None]:
        threading.Thread(target=self._count, name="counting", daemon=True).start()
        if sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415

            self._bar = tqdm(unit=" recordings", dynamic_ncols=True)
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _count(self) -> None:
        try:
            self._total = sum(1 for _ in list_recordings(self._plan))
        except StorageError:
            return  # the job's own listing reports the error

    def _show(self, summary: Summary) -> None:
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.set_postfix(failed=summary.failed, skipped=summary.skipped, refresh=False)
            self._bar.update(summary.seen - self._bar.n)
        elif time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            complain(f"{summary.seen} of {self._total or 'unknown'}: {summary.to_text()}")
