"""What a deployment fixes, read once from the environment (``MT3_`` and the name in capitals).

The only reader of the environment; built by the command line or by `create_app`, and handed to
`service/assembly.py`, which turns it into objects. Nothing below knows it. Each name carries its
unit and each field its meaning and the reason for its default; `service/README.md` lists them all
and a test holds it to that.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mt3_model.notes.transcription import PrecisionChoice


class Settings(BaseSettings):
    """The settings of one server."""

    model_config = SettingsConfigDict(
        env_prefix="MT3_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    model: str = "mt3"
    """Which published model to serve: a name of `mt3 models`."""
    checkpoint: Path | None = None
    """A T5X folder or a converted file. Absent: looked for in the repository's `checkpoints/`, then
    in the user's cache, then downloaded."""
    offline: bool = False
    """Never download; a checkpoint that is not on disk is then an error that says where it was
    looked for."""
    checkpoint_mirror_url: str | None = None
    """Where to download from in place of Magenta's bucket: a URL under which the models' folders
    lie. The files must be the same; they are held to the same sums."""
    backend: Literal["jax", "fake"] = "jax"
    """What makes the tokens. `fake` needs no checkpoint and answers with a fixed pattern: to try
    the API and to test clients."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only, because the server
    has no keys yet."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """TCP port; 0 takes a free one."""

    max_upload_bytes: int = Field(default=2**30, gt=0)
    """Largest recording taken, in bytes as sent: 1 GiB holds 1.7 hours of CD-quality WAV. It goes
    to disk while it arrives, so this bounds disk, not memory."""
    upload_idle_timeout_seconds: float = Field(default=60.0, gt=0)
    """A client that sends nothing for so long while its upload is not whole is answered 408."""
    upload_dir: Path | None = None
    """Where recordings lie while they are transcribed; absent: the system's temporary folder."""
    max_audio_seconds: float = Field(default=7_200.0, gt=0)
    """Longest recording taken: two hours, about a concert."""
    max_channels: int = Field(default=64, gt=0)
    """Most channels of a recording; more is not music but an attack on memory."""

    max_waiting_audio_seconds: float = Field(default=14_400.0, gt=0)
    """Seconds of audio admitted and not yet transcribed, over all requests. Above it, requests are
    refused with 503 and Retry-After: four hours is what a laptop does in half an hour."""
    max_open_recordings: int = Field(default=32, gt=0)
    """Recordings read at once: each holds a reading process and a bounded window of samples."""
    precision: PrecisionChoice = "auto"
    """Of the network's products: float32 is the original's, bfloat16 rounds their operands, auto is
    the faster one here."""
    slots: int | None = Field(default=None, gt=0)
    """Segments that generate at once, of all requests. Absent: what suits the device, 32 on a CPU
    and 256 on an accelerator. More is faster until the device is full; memory grows with it."""
    compilation_cache_dir: Path | None = None
    """Where JAX keeps compiled programs, so that the next start need not compile; absent: the
    user's cache folder."""

    shutdown_grace_seconds: float = Field(default=30.0, ge=0)
    """After SIGTERM, running requests may take so long before they are cut off."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe events that are logged."""
