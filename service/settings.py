"""The settings of a deployment, read once from the environment (``MT3_`` and the name in capitals).

This is the only module that reads the environment. Settings are built by the command line or by
`create_app`, and passed to `service/assembly.py`, which builds the server's parts from them. Each
name carries its unit, and each field documents its meaning and the reason for its default.
`service/README.md` lists all settings, which a test checks.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mt3_model.notes.transcription import KernelsChoice, PrecisionChoice
from service.units import parse_byte_rate, parse_bytes, parse_seconds
from service.webhooks.webhook import LONGEST_SECRET, SHORTEST_SECRET


def _if_text(parse: Callable[[str], float]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Bytes = Annotated[int, _if_text(parse_bytes)]
"""A size; in the environment with a unit (`1GB`, `512MiB`) or without."""
Seconds = Annotated[float, _if_text(parse_seconds)]
"""A duration; in the environment with a unit (`90s`, `2h`, `7d`) or without, or `inf`."""
ByteRate = Annotated[float, _if_text(parse_byte_rate)]
"""Bytes per second; in the environment with a unit (`1kB`) or without."""
_MAX_COUNT = 1_000_000
Count = Annotated[int, Field(gt=0, le=_MAX_COUNT)]
"""A number of things at once. The bound is far above what a machine can do, and below what the
libraries that get the number can hold."""
_MAX_KEPT_SECONDS = 100 * 365 * 86_400.0
KeptSeconds = Annotated[Seconds, Field(gt=0, le=_MAX_KEPT_SECONDS)]
"""A duration that is added to today's date: at most 100 years, since dates end with the year
9999."""
_PREFIX = "MT3_"
_NEVER_EMPTY = frozenset({"api_keys", "api_keys_file"})
"""Settings that must not be empty: an empty value is a mistake that would open the server to all.
"""
_OF_OTHERS = frozenset(
    {"MT3_API_KEY", "MT3_SERVER", "MT3_SHARED", "MT3_MEMORY", "MT3_PUBLISHED_PORT"}
)
"""Variables of the client, the tests, the demo and the compose files."""
_NEAR = 0.7
"""Minimum similarity of a misspelled name to a known one: one or two letters differ."""
_OF_TESTS = re.compile(r"MT3_(FAULT_TESTS|FUZZ|TEST)_\w+")
_OF_KUBERNETES = re.compile(r"MT3_\w*?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*)")
"""Set in every pod of a namespace that has a service named `mt3-...`."""


class Settings(BaseSettings):
    """The settings of one server."""

    model_config = SettingsConfigDict(
        env_prefix="MT3_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    model: str = "mt3"
    """Published model to serve: a name of `mt3 models`."""
    checkpoint: Path | None = None
    """A T5X folder or a converted file. Default: the one in the repository's `checkpoints/`, else
    in the user's cache, else downloaded."""
    offline: bool = False
    """Never download. If the checkpoint is not on disk, the error lists the paths tried."""
    checkpoint_mirror_url: str | None = None
    """URL to download from in place of Magenta's bucket, with the models' folders below it. The
    files must be the same; the same checksums are verified."""
    backend: Literal["jax", "fake"] = "jax"
    """The backend that generates the tokens. `fake` needs no checkpoint and generates a fixed
    pattern, for trying the API and testing clients."""
    fake_iteration_seconds: Seconds = Field(default=0.0, ge=0, le=3_600)
    """Time of each iteration of the fake backend, so that a load test has a device of known
    capacity."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only; any other needs keys,
    or `allow_anonymous`."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """TCP port; 0 takes a free one."""
    max_connections: Count = 2_000
    """Maximum number of open connections, including idle ones; more are answered 503 and closed.
    Each costs a file descriptor and up to several hundred kilobytes of buffers."""

    api_keys_file: Path | None = None
    """TOML file with the hashes of API keys, read again when it changes (`mt3 keys` writes it).
    With this or `api_keys`, every request except those for health and documentation needs a key."""
    api_keys: SecretStr | None = None
    """A few keys instead of a file, or in addition to it: `name:key` or `name:sha256:hash`,
    separated by commas. They have every scope."""
    allow_anonymous: bool = False
    """Serve requests without keys on an address that other machines can reach. Without this
    setting, such a server does not start."""
    allowed_hosts: str = ""
    """Host names, separated by commas, that a server without keys accepts, in addition to
    addresses, `localhost` and names without public DNS; `*`: any."""
    cors_origins: str = ""
    """Origins, separated by commas, whose web pages may use the API: `https://app.example`. None by
    default. `*` allows every page, but only if keys are required or `allow_anonymous` is set."""

    max_upload_bytes: Bytes = Field(default=2**30, gt=0)
    """Largest recording accepted, in bytes as sent: 1 GiB holds 1.7 hours of CD-quality WAV. It is
    written to disk while it arrives, so this limits disk space, not memory."""
    upload_idle_timeout_seconds: Seconds = Field(default=60.0, gt=0)
    """A client that sends nothing for this time before its upload is complete is answered 408."""
    upload_min_bytes_per_second: ByteRate = Field(default=1_000.0, ge=0)
    """Lowest mean rate of an upload, checked after the idle timeout; a slower one is answered 408.
    The slowest mobile connections are five times as fast."""
    upload_total_timeout_seconds: Seconds = Field(default=21_600.0, gt=0)
    """Longest time for one body; a longer one is answered 408. Six hours are 1 GiB at 50 kB/s."""
    upload_scarce_bytes_per_second: ByteRate = Field(default=16_000.0, ge=0)
    """An upload slower than this on average, after its first 5 s, is ended with 408 if another one
    needs its permit: all permits are in use, or all of this caller's. So slow uploads cannot block
    others."""
    max_concurrent_uploads: Count = 256
    """Recordings received at once; more are refused with 503. Each holds up to a megabyte of memory
    and a file. JSON and bodies up to 1 MiB have a separate limit of the same size."""
    max_concurrent_uploads_per_caller: Count | None = None
    """Recordings received at once from one caller (a key; without keys an address); more get 429.
    Default: half of `max_concurrent_uploads`."""
    upload_dir: Path | None = None
    """Folder for recordings while they are transcribed; each process uses a subfolder. Default: the
    system's temporary folder."""
    max_audio_seconds: Seconds = Field(default=7_200.0, gt=0)
    """Longest recording accepted: two hours, about a concert."""
    max_channels: Count = 64
    """Maximum number of channels of a recording. No music has more, and each needs memory."""

    max_waiting_audio_seconds: Seconds = Field(default=14_400.0, gt=0)
    """Seconds of audio admitted and not yet transcribed, over all requests. Above it, requests are
    refused with 503 and Retry-After: a laptop transcribes four hours in half an hour."""
    max_open_recordings: Count | None = None
    """Recordings read at once: each holds a reading process and a bounded window of samples.
    Default: half the number of slots and at least 32, so 32 on a CPU and 256 on an accelerator."""
    recording_processes: int | None = Field(default=None, ge=0, le=_MAX_COUNT)
    """Processes that read recordings and write results; 0: the server's own process does this.
    Default: none with fewer than four cores, else one on a CPU; on an accelerator, which is too
    fast for one process, up to one less than the number of cores."""
    precision: PrecisionChoice = "auto"
    """Precision of the network's matrix products: `float32` as in the original, `bfloat16` with
    rounded operands, `auto` for bfloat16 on accelerators and on CPUs with AVX-512 BF16 or AMX, else
    float32. Set the same one for processes that share work on different hardware."""
    cpu_kernels: KernelsChoice = "auto"
    """The programs that compute on a CPU: our own (`on`) or XLA's (`off`); `auto` chooses by the
    processor's instruction set. `on` needs exactly one CPU and no accelerator."""
    gpu_kernels: KernelsChoice = "auto"
    """The attention that NVIDIA GPUs use: our own, compiled by Triton (`on`), or XLA's (`off`);
    `auto` uses our own where it runs, from Ampere on."""
    reproducible: bool = False
    """Whether a recording always gives the same notes, to the last bit, whatever other requests the
    device serves. XLA's programs then have only one shape, so a single recording costs as much as a
    full batch. The CPU's own programs are always reproducible."""
    slots: Count | None = None
    """Segments that generate at once, of all requests. Default: 32 on a CPU and 512 on an
    accelerator. More slots are faster until the device is full, and need more memory."""
    compilation_cache_dir: Path | None = None
    """Folder of JAX's compiled programs, so that the next start need not compile. Default: the
    user's cache folder."""

    soundfont: Path | None = None
    """A General MIDI soundfont (SF2 or SF3) with which the page plays notes. Default: FluidR3,
    downloaded when first played, or without a network the small one of `pretty_midi`."""

    jobs: bool = True
    """Accept jobs, and keep them under `data_dir` or in `database_url` and `storage_url`. If false,
    nothing outlives a request, and `/v1/jobs` answers 404."""
    data_dir: Path | None = None
    """Folder of jobs, their recordings and results, unless the two settings below name others.
    Default: the user's data folder."""
    database_url: str | None = None
    """Database of the jobs: `sqlite:////path/jobs.sqlite3` for one process, or `postgresql://...`
    for any number. Default: a file under `data_dir`."""
    storage_url: str | None = None
    """Storage of the jobs' recordings and results: `file:///folder`, `s3://bucket/prefix`,
    `gs://...`, `az://...`. Default: a folder under `data_dir`."""
    adopt_storage: bool = False
    """Use the storage with this database even if it has another deployment's id, or none, and even
    if most of it belongs to no job of the database; such objects are then deleted. Set it for one
    start, after a loss without a backup."""
    worker: bool = True
    """Whether this process also runs jobs. If not, it loads no model: all recordings, including
    those of single requests (202), are transcribed by the `mt3 worker` processes of the same
    database."""
    job_items_in_flight: Count | None = None
    """Recordings of jobs processed at once. Default: 1.5 times as many as fill the device, because
    some are being read or written."""
    job_fetches_in_flight: Count | None = None
    """Recordings, named by URL or object, that are fetched at once, in addition to
    `job_items_in_flight`. Each holds a file. Default: four times `job_fetches_per_caller`."""
    job_fetches_per_caller: Count | None = None
    """Fetches at once for one caller. Default: three quarters of `job_items_in_flight`, and at
    least four."""
    fetch_min_bytes_per_second: ByteRate = Field(default=16_000.0, ge=0)
    """Lowest mean rate of a fetch, checked after its first 10 s; a slower one is aborted and
    retried later."""
    fetch_total_timeout_seconds: Seconds = Field(default=600.0, gt=0)
    """Longest time for one fetch: 1 GiB at 14 Mbit/s."""
    max_job_items: int = Field(default=10_000, gt=0, le=100_000)
    """Maximum number of recordings of one job, which is submitted in one transaction."""
    max_job_upload_bytes: Bytes = Field(default=2**34, gt=0)
    """Maximum size of all files of one submission together, 16 GiB. It is better to send more in
    several submissions, because a broken connection loses everything received."""
    job_retention_seconds: KeptSeconds = 7 * 86_400.0
    """Time for which an ended job and all its data are kept: a week, enough to fetch results after
    a holiday. At most 36,500 days."""
    webhook_secret: SecretStr | None = None
    """Secret that signs the webhooks of jobs that have none of their own, 16 to 512 characters.
    Without it, each webhook must have its own secret."""
    allow_private_urls: bool = False
    """Whether callers' URLs, of recordings or of webhooks, may lead to private networks and to this
    machine, directly or by a redirect."""
    allowed_object_urls: str = ""
    """Locations, separated by commas, whose objects jobs may name: `s3://bucket/folder`. None by
    default, because objects are read with this deployment's own credentials."""
    max_sync_audio_seconds: Seconds | None = Field(default=None, gt=0)
    """A longer recording sent as one request becomes a job (202). Default: a request becomes a job
    only if its client asks for that."""

    stream_resume_seconds: Seconds = Field(default=30.0, ge=0)
    """Time for which an event stream without a reader continues before it is canceled, and for
    which an ended stream is kept, so that a client that lost its connection can reconnect."""
    stream_heartbeat_seconds: Seconds = Field(default=15.0, gt=0)
    """Time between comments in an idle event stream: proxies close connections that are silent for
    a minute or so."""
    max_event_streams_per_caller: Count = 100
    """Event streams of jobs that one caller (a key; without keys an address) may have open; more
    are refused with 429. Each holds a connection."""

    shutdown_grace_seconds: Seconds = Field(default=30.0, ge=0)
    """Time after SIGTERM that running requests have to finish before they are aborted."""
    tracing: bool = False
    """Record traces, and send them to the destination set by OpenTelemetry's own variables
    (`OTEL_EXPORTER_OTLP_ENDPOINT` and others); needs the extra `tracing`."""
    tracing_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces recorded: 1 is every request, a few kilobytes each."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of events that are logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """JSON lines for machines, or text lines for people; `auto`: text on a terminal, else JSON."""

    @model_validator(mode="before")
    @classmethod
    def _take_empty_as_absent(cls, values: Any) -> Any:
        """Treat empty settings as absent: compose files and charts set them."""
        return {k: v for k, v in values.items() if v != "" or k in _NEVER_EMPTY}

    @field_validator(*_NEVER_EMPTY, mode="before")
    @classmethod
    def _refuse_empty_keys(cls, value: Any) -> Any:
        """Refuse an empty setting for keys.

        Raises:
            ValueError: it is empty.
        """
        if value == "":
            raise ValueError("it is empty; unset it, or give it keys")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _refuse_short_secret(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse a secret that could be guessed.

        Raises:
            ValueError: it is too short, or too long.
        """
        if value is not None:
            length = len(value.get_secret_value().strip())
            if not SHORTEST_SECRET <= length <= LONGEST_SECRET:
                raise ValueError(
                    f"it has {length} characters; expected {SHORTEST_SECRET} to {LONGEST_SECRET}"
                )
        return value


def unknown_settings(names: Iterable[str]) -> dict[str, str | None]:
    """Find variables that look like settings but are not, such as misspelled ones.

    Args:
        names: names of the environment's variables.

    Returns:
        Each unknown name, with a similar known one if there is one.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = [
        name
        for name in sorted(names)
        if name.upper().startswith(_PREFIX)
        and name.upper() not in known | _OF_OTHERS
        and not _OF_TESTS.fullmatch(name)
        and not _OF_KUBERNETES.fullmatch(name)
    ]
    return {name: _nearest(name.upper().removeprefix(_PREFIX)) for name in unknown}


def _nearest(name: str) -> str | None:
    known = [field.upper() for field in Settings.model_fields]
    found = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
    return f"{_PREFIX}{found[0]}" if found else None
