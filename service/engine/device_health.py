"""The health of the device: counts failing iterations, and schedules trials.

    healthy   -- `FAILING_ITERATIONS` failing iterations in a row, and a failing trial --> unhealthy
    unhealthy -- a trial that succeeds --> healthy

A trial generates a segment of silence on an otherwise empty device. The count alone does not
decide, so that a few segments that each make the device fail harm only themselves. An unhealthy
device is tried again, less and less often.

`DeviceHealth` is pure: no clock and no device. `run_silence_trial` is the trial.
"""

import math

import numpy as np

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import GeneratedSegment, SlotEntry
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import silent_segment

FAILING_ITERATIONS = 3
"""Failing iterations in a row, no segment finished between them, after which a trial is needed: one
may be chance, a second may be the same segment retried alone."""
LONGEST_PAUSE_SECONDS = 30.0
"""Longest pause between two trials, and so the longest that a recovered device stays unused."""


class DeviceTrialError(Exception):
    """The device raised nothing, but its result is wrong."""


class DeviceHealth:
    """Counts failing iterations, and schedules the trials of an unhealthy device."""

    def __init__(self, *, trial_seconds: float) -> None:
        """Start healthy.

        Args:
            trial_seconds: time until an unhealthy device's first trial; doubled after each failing
                one.
        """
        self.is_healthy = True
        self.next_trial = math.inf
        """Time of the next trial, on the caller's clock; infinite while healthy."""
        self._first_pause = trial_seconds
        self._pause = trial_seconds
        self._failing_iterations = 0

    @property
    def needs_trial(self) -> bool:
        """Whether only a trial can decide."""
        return self._failing_iterations >= FAILING_ITERATIONS

    def record_iteration(self, *, failed: bool, finished: bool) -> None:
        """Count an iteration.

        Args:
            failed: whether the device failed in it.
            finished: whether a segment finished in it, which resets the count.
        """
        if finished:
            self._failing_iterations = 0
        elif failed:
            self._failing_iterations += 1

    def mark_healthy(self) -> None:
        """Record a trial that succeeded."""
        self.is_healthy = True
        self.next_trial = math.inf
        self._pause = self._first_pause
        self._failing_iterations = 0

    def mark_unhealthy(self, now: float) -> None:
        """Record a trial that failed, or a call that hung."""
        if not self.is_healthy:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.is_healthy = False
        self.next_trial = now + self._pause


def has_numbers_only(generated: GeneratedSegment) -> bool:
    """Return whether all log probabilities are numbers: neither NaN nor positive infinity."""
    return bool((generated.log_probabilities < np.inf).all())  # false for NaN


def run_silence_trial(backend: Backend, spec: ModelSpec) -> None:
    """Generate one segment of silence on an empty device.

    Raises:
        DeviceTrialError: the segment does not end, or not with numbers.
        Exception: any error of the backend.
    """
    backend.release(range(backend.slots))
    silence = silent_segment(spec)
    backend.insert([SlotEntry(slot=0, segment=silence, decoding="greedy")])
    for _ in range(spec.max_tokens):  # a step writes at least one token
        for finished in backend.step():
            if not has_numbers_only(finished.generated):
                raise DeviceTrialError("silence gives log probabilities that are not numbers")
            return
    raise DeviceTrialError("a segment of silence does not end")
