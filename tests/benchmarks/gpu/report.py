"""Write the result as JSON after every stage, so that an interrupted run leaves a valid file.

A stage that fails is recorded with its error, and the next one runs. A stage for which no time is
left is listed under ``left_out``.
"""

import json
import pathlib
import time
import traceback
from collections.abc import Callable
from typing import Any


class OutOfTimeError(Exception):
    """The time limit passed during a stage."""


class Deadline:
    """A time limit that long stages check."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds = seconds

    def elapsed(self) -> float:
        """Return the seconds since the run began."""
        return self._clock() - self._began

    def check(self) -> None:
        """Raise `OutOfTimeError` after the limit."""
        if self.elapsed() > self._seconds:
            raise OutOfTimeError(f"the time limit of {self._seconds} s is past")


class Report:
    """Collects the stages of one run."""

    def __init__(self, path: pathlib.Path, head: dict[str, Any], deadline: Deadline) -> None:
        self._path = path
        self.deadline = deadline
        self.data: dict[str, Any] = {**head, "stages": {}, "failed": {}, "left_out": []}
        self.write()

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Run one stage and write its result; return None if it failed or had no time."""
        began = self.deadline.elapsed()
        result = None
        try:
            self.deadline.check()
            result = work()
        except OutOfTimeError:
            self.data["left_out"].append(name)
        except Exception as error:  # the outer edge: the stages before and after still count
            self.data["failed"][name] = {
                "error": f"{type(error).__name__}: {error}"[:2_000],
                "at": traceback.format_exc(limit=-3)[-2_000:],
            }
        else:
            self.data["stages"][name] = result
        self.data["seconds"] = round(self.deadline.elapsed(), 1)
        self.write()
        outcome = next(
            (word for word in ("failed", "left_out") if name in self.data[word]), "measured"
        )
        print(f"[{began:6.1f} s] {name}: {outcome}", flush=True)
        return result

    def note(self, key: str, value: Any) -> None:
        """Write a value that no stage measures."""
        self.data[key] = value
        self.write()

    def write(self) -> None:
        """Replace the file atomically."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text(json.dumps(self.data, indent=1) + "\n")
        partial.replace(self._path)
