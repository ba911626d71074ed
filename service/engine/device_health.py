"""Whether the device can be relied on: failing visits counted, and trials when it cannot.

    healthy   -- `FAILING_ITERATIONS` failing visits in a row, and a failing trial -->  unhealthy
    unhealthy -- a trial that succeeds -->  healthy

A trial is a segment of silence on an otherwise empty device. It stands between the counting and the
verdict so that a few segments that each make the device fail, one after the other, cost themselves
and not everybody else. While the device is unhealthy it is tried again by itself, less and less
often.

`DeviceHealth` is pure: no clock and no device. `run_silence_trial` is the trial.
"""

import math

import numpy as np

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import GeneratedSegment, SlotEntry
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

FAILING_ITERATIONS = 3
"""So many in a row, no segment finished between them, raise the doubt: one may be chance, a second
may be the same segment tried again, alone."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between two trials: what a recovered device waits at most to be used again."""


class DeviceNumberError(Exception):
    """The device answered with something that is not a number."""


class DeviceHealth:
    """Counts failing visits, and says when to try an unhealthy device again."""

    def __init__(self, *, trial_seconds: float) -> None:
        """Starts healthy.

        Args:
            trial_seconds: From the verdict to the first trial; doubled after each one that fails.
        """
        self.is_healthy = True
        self.next_trial = math.inf
        """When to try again, on the clock of whoever asks; never while it is healthy."""
        self._first_pause = trial_seconds
        self._pause = trial_seconds
        self._failing_iterations = 0

    @property
    def needs_trial(self) -> bool:
        """Whether only a trial can tell."""
        return self._failing_iterations >= FAILING_ITERATIONS

    def record_iteration(self, *, failed: bool, finished: bool) -> None:
        """Takes note of a visit.

        Args:
            failed: Whether the device failed in it.
            finished: Whether a segment finished in it: that much works.
        """
        if finished:
            self._failing_iterations = 0
        elif failed:
            self._failing_iterations += 1

    def mark_healthy(self) -> None:
        """After a trial that succeeded."""
        self.is_healthy = True
        self.next_trial = math.inf
        self._pause = self._first_pause
        self._failing_iterations = 0

    def mark_unhealthy(self, now: float) -> None:
        """After a trial that failed, or a call that hung."""
        if not self.is_healthy:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.is_healthy = False
        self.next_trial = now + self._pause


def has_numbers_only(generated: GeneratedSegment) -> bool:
    """Whether all log probabilities are numbers: not NaN, and not above every number."""
    return bool((generated.log_probabilities < np.inf).all())  # false for NaN


def run_silence_trial(backend: Backend, spec: ModelSpec) -> None:
    """Has one segment of silence generated on an empty device.

    Raises:
        DeviceNumberError: The device answers with something that is not a number.
        Exception: Whatever the backend raises.
    """
    backend.release(range(backend.slots))
    silence = Segment(
        index=0,
        samples=np.zeros(spec.segment_samples, np.float32),
        frames=spec.segment_frames,
        start_time=0.0,
    )
    backend.insert([SlotEntry(slot=0, segment=silence, decoding="greedy")])
    for _ in range(spec.max_tokens):  # a visit writes one token at least
        for finished in backend.step():
            if not has_numbers_only(finished.generated):
                raise DeviceNumberError("silence gives log probabilities that are no numbers")
            return
    backend.release([0])
