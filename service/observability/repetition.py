"""Limit the log of a library that repeats its messages without pause while a fault lasts."""

import logging
import threading

from service.observability.logging import FIELDS


class RepetitionFilter(logging.Filter):
    """Passes one message from each line of code in a period, with the number left out before it.

    Lines of code are compared, because the texts differ by numbers and ids.
    """

    def __init__(self, seconds: float) -> None:
        """Create a filter that has passed nothing.

        Args:
            seconds: the time after a message in which those of the same line are left out.
        """
        super().__init__()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._passed: dict[tuple[str, int], tuple[float, int]] = {}
        """By file and line: the time of the last message passed, and how many were left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; adds the field `repetitions_left_out` to it."""
        place = record.pathname, record.lineno
        with self._lock:
            passed_at, left_out = self._passed.get(place, (float("-inf"), 0))
            if 0 <= record.created - passed_at < self._seconds:
                self._passed[place] = passed_at, left_out + 1
                return False
            self._passed[place] = record.created, 0
        if left_out:
            setattr(record, FIELDS, {"repetitions_left_out": left_out})
        return True
