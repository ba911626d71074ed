"""The settings of a deployment, read once from the environment (``MT3_`` and the name in capitals).

The only module that reads the environment. Settings are built by the command line or by
`create_app`, and passed to `service/assembly.py`, which turns them into objects. Each name carries
its unit, and each field documents its meaning and the reason for its default. `service/README.md`
lists all settings, which a test checks.
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


def _if_text(parse: Callable[[str], float]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Bytes = Annotated[int, _if_text(parse_bytes)]
"""A size; in the environment with a unit (`1GB`, `512MiB`) or without."""
Seconds = Annotated[float, _if_text(parse_seconds)]
"""A duration; in the environment with a unit (`90s`, `2h`, `7d`) or without."""
ByteRate = Annotated[float, _if_text(parse_byte_rate)]
"""Bytes per second; in the environment with a unit (`1kB`) or without."""
_PREFIX = "MT3_"
_NEVER_EMPTY = frozenset({"api_keys", "api_keys_file"})
"""Settings that may not be empty: an empty value is a mistake that would open the server to all."""
_OF_OTHERS = frozenset(
    {"MT3_API_KEY", "MT3_SERVER", "MT3_SHARED", "MT3_MEMORY", "MT3_PUBLISHED_PORT"}
)
"""Variables of the client, the tests, the demo and the compose files."""
_NEAR = 0.7
"""Least similarity of a misspelled name and a known one: one or two letters differ."""
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
    """A T5X folder or a converted file. Absent: looked for in the repository's `checkpoints/`, then
    in the user's cache, then downloaded."""
    offline: bool = False
    """Never download; a checkpoint that is not on disk is then an error that says where it was
    looked for."""
    checkpoint_mirror_url: str | None = None
    """URL to download from in place of Magenta's bucket, with the models' folders below it. The
    files must be the same; the same checksums are verified."""
    backend: Literal["jax", "fake"] = "jax"
    """The backend that generates the tokens. `fake` needs no checkpoint and generates a fixed
    pattern, for trying the API and testing clients."""
    fake_iteration_seconds: Seconds = Field(default=0.0, ge=0)
    """Time of each step of the fake backend, which gives a load test a device of known
    capacity."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only; any other needs keys,
    or `allow_anonymous`."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """TCP port; 0 takes a free one."""
    max_connections: int = Field(default=2_000, gt=0)
    """Most open connections, including idle ones; more are answered 503 and closed. Each costs a
    file descriptor and up to some hundred kilobytes of buffers."""

    api_keys_file: Path | None = None
    """TOML file with the hashes of API keys, read again when it changes (`mt3 keys` writes it).
    With this or `api_keys`, every request but those for health and documents needs a key."""
    api_keys: SecretStr | None = None
    """A few keys in place of a file, or beside it: `name:key` or `name:sha256:hash`, separated by
    commas. They open everything."""
    allow_anonymous: bool = False
    """Serve requests without keys on an address that other machines can reach. Without this
    setting, such a server does not start."""
    allowed_hosts: str = ""
    """Names, separated by commas, under which a server without keys is reached, beside addresses,
    `localhost` and names that no public DNS has; `*`: any."""
    cors_origins: str = ""
    """Origins, separated by commas, whose web pages may use the API: `https://app.example`. None by
    default; `*`, every page, only where keys are asked for or `allow_anonymous` is set."""

    max_upload_bytes: Bytes = Field(default=2**30, gt=0)
    """Largest recording taken, in bytes as sent: 1 GiB holds 1.7 hours of CD-quality WAV. It goes
    to disk while it arrives, so this bounds disk, not memory."""
    upload_idle_timeout_seconds: Seconds = Field(default=60.0, gt=0)
    """A client that sends nothing for this time before its upload is complete is answered 408."""
    upload_min_bytes_per_second: ByteRate = Field(default=1_000.0, ge=0)
    """Lowest mean rate of an upload, checked after the idle timeout; a slower one is answered 408.
    The slowest mobile lines carry five times as much."""
    upload_total_timeout_seconds: Seconds = Field(default=21_600.0, gt=0)
    """Longest time for one body; a longer one is answered 408. Six hours are 1 GiB at 50 kB/s."""
    upload_scarce_bytes_per_second: ByteRate = Field(default=16_000.0, ge=0)
    """An upload slower than this on average, after its first 5 s, is ended with 408 when another
    needs its place: all places are taken, or the caller's. So slow uploads cannot block others."""
    max_concurrent_uploads: int = Field(default=256, gt=0)
    """Recordings received at once; more are refused with 503. Each holds up to a megabyte of memory
    and a file. JSON and bodies up to 1 MiB have as many places of their own."""
    max_concurrent_uploads_per_caller: int | None = Field(default=None, gt=0)
    """Recordings received at once from one caller (a key; without keys an address); more get 429.
    Absent: half."""
    upload_dir: Path | None = None
    """Folder for recordings while they are transcribed, each process in a subfolder; absent:
    the system's temporary folder."""
    max_audio_seconds: Seconds = Field(default=7_200.0, gt=0)
    """Longest recording taken: two hours, about a concert."""
    max_channels: int = Field(default=64, gt=0)
    """Most channels of a recording. No music has more, and each needs memory."""

    max_waiting_audio_seconds: Seconds = Field(default=14_400.0, gt=0)
    """Seconds of audio admitted and not yet transcribed, over all requests. Above it, requests are
    refused with 503 and Retry-After: four hours is what a laptop does in half an hour."""
    max_open_recordings: int | None = Field(default=None, gt=0)
    """Recordings read at once: each holds a reading process and a bounded window of samples.
    Absent: what suits the device, 32 on a CPU and 256 on an accelerator: half as many as it has
    slots, and at least 32."""
    recording_processes: int | None = Field(default=None, ge=0)
    """Processes that read recordings and write results; 0: the server's own process does. Absent:
    none with fewer than four cores, else one on a CPU and, on an accelerator, which is too fast for
    one process, up to one less than there are cores."""
    precision: PrecisionChoice = "auto"
    """Precision of the network's products: float32 is the original, bfloat16 rounds, auto is
    bfloat16 on accelerators and on CPUs with AVX-512 BF16 or AMX, else float32. Processes that
    share work on different hardware should all be given the same one."""
    cpu_kernels: KernelsChoice = "auto"
    """Whether the CPU's own programs compute (`on`), or XLA's (`off`); `auto` chooses by the
    processor's instruction set. `on` needs exactly one CPU and no accelerator."""
    gpu_kernels: KernelsChoice = "auto"
    """Whether attention compiled by Triton computes on NVIDIA GPUs (`on`), or XLA's (`off`); `auto`
    uses it where it runs, from Ampere on."""
    reproducible: bool = False
    """Whether a recording gives the same notes whatever other requests the device serves, to the
    last bit. XLA's programs then have one shape, so a recording alone costs what many do. The CPU's
    own programs are always so."""
    slots: int | None = Field(default=None, gt=0)
    """Segments that generate at once, of all requests. Absent: what suits the device, 32 on a CPU
    and 512 on an accelerator. More is faster until the device is full; memory grows with it."""
    compilation_cache_dir: Path | None = None
    """Folder of JAX's compiled programs, so that the next start need not compile; absent: the
    user's cache folder."""

    soundfont: Path | None = None
    """A General MIDI soundfont (SF2 or SF3) for the page to play with. Absent: FluidR3, downloaded
    when first played, or without a network the small one of `pretty_midi`."""

    jobs: bool = True
    """Accept jobs, and keep them under `data_dir` or in `database_url` and `storage_url`. If false,
    nothing outlives a request, and `/v1/jobs` answers 404."""
    data_dir: Path | None = None
    """Folder of jobs, their recordings and results, unless the two settings below name others;
    absent: the user's data folder."""
    database_url: str | None = None
    """Database of the jobs: `sqlite:////path/jobs.sqlite3`, which serves one process, or `postgresql://...`
    for any number; absent: a file under `data_dir`."""
    storage_url: str | None = None
    """Storage of the jobs' recordings and results: `file:///folder`, `s3://bucket/prefix`,
    `gs://...`, `az://...`; absent: a folder under `data_dir`."""
    adopt_storage: bool = False
    """Use the storage with this database even if it has another deployment's id, or none, and even
    if most of it belongs to no job of the database; such objects are then deleted. For one start,
    after a loss without a backup."""
    worker: bool = True
    """Whether this process works on jobs too. If not, it loads no model: all recordings, also those
    of single requests (202), are transcribed by the `mt3 worker` processes of the same database."""
    job_items_in_flight: int | None = Field(default=None, gt=0)
    """Recordings of jobs worked on at once. Absent: 1.5 times as many as fill the device, because
    some are being read or written."""
    job_fetches_in_flight: int | None = Field(default=None, gt=0)
    """Recordings, named by URL or object, that are fetched at once, in addition to
    `job_items_in_flight`. Each holds a file. Absent: those of four callers."""
    job_fetches_per_caller: int | None = Field(default=None, gt=0)
    """Fetches at once for one caller. Absent: three quarters of `job_items_in_flight`, and at least
    four."""
    fetch_min_bytes_per_second: ByteRate = Field(default=16_000.0, ge=0)
    """Lowest mean rate of a fetch, checked after its first 10 s; a slower one is aborted and
    retried later."""
    fetch_total_timeout_seconds: Seconds = Field(default=600.0, gt=0)
    """Longest time for one fetch: 1 GiB at 14 Mbit/s."""
    max_job_items: int = Field(default=10_000, gt=0, le=100_000)
    """Most recordings of one job, which is submitted in one transaction."""
    max_job_upload_bytes: Bytes = Field(default=2**34, gt=0)
    """Most bytes of all files of one submission, 16 GiB: larger ones are better sent as several,
    because a broken connection loses everything received."""
    job_retention_seconds: Seconds = Field(default=7 * 86_400.0, gt=0)
    """Time that a job and all its data are kept: a week, enough to fetch results after a
    holiday."""
    webhook_secret: SecretStr | None = None
    """Signs the webhooks of jobs without a secret of their own; if absent, each must have one. 16
    to 512 characters."""
    allow_private_urls: bool = False
    """Whether URLs of callers may lead to private networks and to this machine. If not, neither the
    URL of a recording nor of a webhook does, not even by a redirect."""
    allowed_object_urls: str = ""
    """Places, separated by commas, from which jobs may name objects: `s3://bucket/folder`. None by
    default: objects are read with this deployment's own credentials."""
    max_sync_audio_seconds: Seconds | None = Field(default=None, gt=0)
    """A longer recording sent as one request becomes a job (202). Absent: only requested ones
    do."""

    stream_resume_seconds: Seconds = Field(default=30.0, ge=0)
    """Time that an event stream without a reader continues before it is canceled, and that one
    that has ended is kept: the time for a client that lost its connection to come back."""
    stream_heartbeat_seconds: Seconds = Field(default=15.0, gt=0)
    """Time between comments in an idle event stream: proxies close connections that are silent for
    a minute or so."""
    max_event_streams_per_caller: int = Field(default=100, gt=0)
    """Event streams of jobs that one caller (a key; without keys an address) may have open; more
    are refused with 429. Each holds a connection."""

    shutdown_grace_seconds: Seconds = Field(default=30.0, ge=0)
    """Time after SIGTERM that running requests have to finish before they are aborted."""
    tracing: bool = False
    """Record traces, and send them to the destination of OpenTelemetry's own variables
    (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like); needs the extra `tracing`."""
    tracing_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces recorded: 1 is every request, a few kilobytes each."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe events that are logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Lines of JSON for machines, or of text for people; auto is text on a terminal, else JSON."""

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
