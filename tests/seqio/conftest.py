"""These tests run in a separate environment; without SeqIO they are not collected.

note-seq imports pydub, which warns at import (its regular expressions, `audioop`, no ffmpeg found);
warnings are errors in a test run, so it is imported here first with its warnings left aside.
"""

import importlib
import importlib.util
import warnings

collect_ignore_glob: list[str] = []
if importlib.util.find_spec("seqio"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("note_seq")
else:
    collect_ignore_glob += ["test_*.py"]
