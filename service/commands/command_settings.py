"""Read the settings from the environment, overridden by command-line options.

Unknown `MT3_...` variables cause a warning here, once per command.
"""

import argparse
import os
from typing import TYPE_CHECKING, get_args

from mt3_model.errors import OptionError
from service.commands.terminal import complain

if TYPE_CHECKING:
    # For the type checker. At run time only commands that need settings import pydantic.
    from service.settings import Settings

_OPTIONS = {"database_url": "--database", "storage_url": "--storage", "worker": "--no-worker"}
"""Setting -> option, where the names differ."""


def read_settings(parsed: argparse.Namespace, *names: str) -> "Settings":
    """Read the settings.

    Args:
        parsed: the command line.
        *names: the options that override settings.

    Raises:
        OptionError: a setting has an invalid value.
    """
    from pydantic import SecretStr, ValidationError  # noqa: PLC0415

    from service.settings import Settings, unknown_settings  # noqa: PLC0415

    for name, nearest in unknown_settings(os.environ).items():
        hint = "" if nearest is None else f"; did you mean {nearest}?"
        complain(f"warning: the variable {name} is not a setting and is ignored{hint}")
    given = {name: getattr(parsed, name) for name in names}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = f"MT3_{name.upper()}"
        problem = first["msg"].removeprefix("Value error, ")
        found = repr(first["input"])
        if SecretStr in get_args(Settings.model_fields[name].annotation) and first["input"]:
            found = "'****'"
        option = f"{_OPTIONS.get(name, f'--{name}').replace('_', '-')} (or {variable})"
        raise OptionError(
            name,
            f"{option if name in names else variable} is {found}: {problem}",
        ) from error
