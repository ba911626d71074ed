"""The plan of `mt3 bulk`, as values sent to every process of the cluster, and names of results.

A result's key is the input's key followed by the format's suffix, ``song.wav`` ->
``song.wav.mid``, below the output's prefix at the same place as below the input's. So no two inputs
share a result, and the outputs alone show what is done; no other list is kept.
A recording that cannot be transcribed leaves ``song.wav.error.json`` there instead.
"""

import dataclasses
import fnmatch
import math
import urllib.parse
from pathlib import Path

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import TranscriptionOptions

ERROR_SUFFIX = ".error.json"
BEGUN_PREFIX = "_begun"
"""Prefix in the output for marks of running work (`unit_worker.py`)."""
_TYPICAL_SECONDS = 30.0
"""Length of a short recording: fewer longer ones fill the slots."""
_FILLS = 1.5
"""Slots filled by the recordings in flight, per slot: some are being read or written."""
_LEAST_IN_FLIGHT = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BulkPlan:
    """The inputs, how they are transcribed, and the outputs."""

    input_url: str
    output_url: str
    patterns: tuple[str, ...]
    """Shell patterns for keys below the input's prefix; ``*`` matches slashes too."""
    options: TranscriptionOptions
    forms: tuple[ExportFormat, ...]
    """A result is written in each of them, in this order; with the last, the recording is done."""
    limit: int | None = None
    """Number of recordings to take from the listing, done or not; None: all."""
    retry_failed: bool = False
    """Retry recordings that have an error record."""
    in_flight: int | None = None
    """Concurrent recordings on each actor; None: enough to fill its device."""
    run_id: str
    """Distinguishes this run's marks of running work from those of other runs."""

    def is_wanted(self, key: str) -> bool:
        """Return whether an object of the input is a recording to transcribe."""
        name = key.lower()
        return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in self.patterns)

    def result_keys(self, key: str) -> list[str]:
        """Return the keys of a recording's results; it is done when all exist."""
        return [key + form.suffix for form in self.forms]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PoolPlan:
    """The actors, each with its own device."""

    actors: int | None = None
    """Number of actors; None: one for each device of the cluster, or one without an accelerator."""
    cpus: float = 1.0
    gpus: float | None = None
    """GPUs for each actor; None: 1 if the cluster has any and ``tpus`` is not set."""
    tpus: float | None = None
    address: str | None = None
    """The cluster's address; None: that of ``RAY_ADDRESS``, or a cluster started on this
    machine."""
    object_store_bytes: int | None = None
    """The size of the object store of a cluster started here."""


def error_key(key: str) -> str:
    """Return the key of a recording's error record."""
    return key + ERROR_SUFFIX


def url_of(place: str) -> str:
    """Return the URL of a folder's path; a URL stays as it is."""
    if "://" in place:
        return place
    return "file://" + urllib.parse.quote(str(Path(place).absolute()))


def refuse_output_in_input(input_url: str, output_url: str) -> None:
    """Refuse an output inside the input: results would be listed as recordings.

    Raises:
        OptionError: The output is the input's prefix, or below it.
    """
    inside, outside = (
        urllib.parse.urlsplit(url)._replace(query="").geturl().rstrip("/") + "/"
        for url in (output_url, input_url)
    )
    if inside.startswith(outside):
        raise OptionError(
            "output",
            f"the output {output_url} is inside the input {input_url}; name another location",
        )


def suitable_in_flight(slots: int, segment_seconds: float) -> int:
    """Return how many recordings at once keep a device's slots full.

    Args:
        slots: number of slots of the device, R.
        segment_seconds: length of a segment.
    """
    fill = _FILLS * slots * segment_seconds / _TYPICAL_SECONDS
    return max(math.ceil(fill), _LEAST_IN_FLIGHT)
