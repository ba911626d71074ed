"""Read the environment variables that locate models, for use as a library.

The server reads the same variables as settings (`service/settings.py`). Reading them here too makes
a Python program find the same models as the `mt3` command.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from mt3_model.errors import OptionError

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
REPOSITORY_FOLDER = Path(__file__).parents[2]
"""The folder whose ``checkpoints/`` is searched; an installed package has no such folder."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """The settings for finding models and compiled programs."""

    checkpoint: Path | None
    """`MT3_CHECKPOINT`: a T5X folder or a converted file."""
    offline: bool
    """`MT3_OFFLINE`: never download."""
    mirror: str | None
    """`MT3_CHECKPOINT_MIRROR_URL`: the URL to download from instead of the published one."""
    compilation_cache: Path
    """`MT3_COMPILATION_CACHE_DIR`, or the user's cache folder."""


def read_model_settings(environment: Mapping[str, str]) -> ModelSettings:
    """Read the variables; an empty variable counts as unset.

    Raises:
        OptionError: MT3_OFFLINE is neither true nor false.
    """
    checkpoint = environment.get("MT3_CHECKPOINT")
    cache = environment.get("MT3_COMPILATION_CACHE_DIR")
    return ModelSettings(
        checkpoint=Path(checkpoint) if checkpoint else None,
        offline=_read_boolean(environment, "MT3_OFFLINE"),
        mirror=environment.get("MT3_CHECKPOINT_MIRROR_URL") or None,
        compilation_cache=Path(cache) if cache else default_compilation_cache(),
    )


def default_compilation_cache() -> Path:
    """Return the default folder for compiled programs, in the user's cache folder."""
    return platformdirs.user_cache_path("mt3-service", appauthor=False) / "compiled"


def _read_boolean(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").strip().lower()
    if text in _TRUE:
        return True
    if not text or text in _FALSE:
        return False
    raise OptionError("offline", f"{name} is {environment[name]!r}; expected true or false")
