"""These tests run in an environment of their own (`make test-ray`): without Ray, none is here."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
