"""What programs have in common that are `mt3 bulk` with a device of their own."""

import importlib
import sys

from service import cli, model_loading
from service.commands import bulk


def with_backend(settings, backend_of):
    """What the service loads, with another device: made by ``backend_of(spec)``."""
    loaded = model_loading.load_model(settings)
    return model_loading.LoadedModel(
        spec=loaded.spec, provenance=loaded.provenance, backend=backend_of(loaded.spec)
    )


def run(module):
    """Runs `mt3 bulk` with that module's ``load``.

    Under the module's name, and not as part of the main program: the actors import it.
    """
    bulk.load_model = importlib.import_module(module).load
    sys.exit(cli.main())
