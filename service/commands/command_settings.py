"""The environment's settings, with what the command line says in their place.

Variables that look like settings and are none are warned of here, once a command.
"""

import argparse
import os
from typing import TYPE_CHECKING

from mt3_model.errors import OptionError
from service.commands.terminal import complain

if TYPE_CHECKING:
    # For the type checker; at run time pydantic is imported by the command that needs settings.
    from service.settings import Settings

_OPTIONS = {"database_url": "--database", "storage_url": "--storage", "worker": "--no-worker"}
"""Options that are called otherwise than their setting."""


def read_settings(parsed: argparse.Namespace, *names: str) -> "Settings":
    """Reads the settings.

    Args:
        parsed: The command line.
        *names: The options that are settings too; those given replace the environment's.

    Raises:
        OptionError: One of them is not a value it can have.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from service.settings import Settings, unknown_settings  # noqa: PLC0415

    for name, nearest in unknown_settings(os.environ).items():
        hint = "" if nearest is None else f"; did you mean {nearest}?"
        complain(f"warning: the variable {name} is no setting and is ignored{hint}")
    given = {name: getattr(parsed, name) for name in names}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = f"MT3_{name.upper()}"
        option = f"{_OPTIONS.get(name, f'--{name}').replace('_', '-')} (or {variable})"
        raise OptionError(
            name,
            f"{option if name in names else variable} is {first['input']!r}: {first['msg']}",
        ) from error
