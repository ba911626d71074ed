"""Shared code of the programs that run `mt3 bulk` with a special device."""

import importlib
import sys

from service import cli, model_loading
from service.commands import bulk


def with_backend(settings, backend_of):
    """Load the model as the service does, with the backend ``backend_of(spec)``."""
    loaded = model_loading.load_model(settings)
    return model_loading.LoadedModel(
        spec=loaded.spec, provenance=loaded.provenance, backend=backend_of(loaded.spec)
    )


def run(module):
    """Run `mt3 bulk` with that module's ``load``.

    The module is imported by name, not used as ``__main__``, because the actors import it.
    """
    bulk.load_model = importlib.import_module(module).load
    sys.exit(cli.main())
