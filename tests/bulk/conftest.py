"""Collect these tests only where Ray is installed (`make test-ray`)."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
