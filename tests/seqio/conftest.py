"""These tests run in an environment of their own: without SeqIO there is nothing to collect."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("seqio") else ["test_*.py"]
