"""The description of the machine of a measurement."""

import importlib.metadata
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from service.benchmark import machine


def test_the_machine_is_named():
    described = machine.describe_machine(with_device=True)
    assert described.processor
    assert 1 <= described.cores <= os.cpu_count()
    assert described.memory_bytes > 1 << 28
    assert described.platform == jax.default_backend()
    assert described.device == jax.devices()[0].device_kind
    assert described.devices == jax.local_device_count()


def test_without_a_device_none_is_named():
    described = machine.describe_machine(with_device=False)
    assert (described.platform, described.devices) == ("cpu", 0)
    assert "fake" in described.device


def test_versions_are_the_installed_ones():
    versions = machine.versions()
    assert versions["jax"] == importlib.metadata.version("jax")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.slow
def test_the_peak_counts_what_was_held_and_let_go():
    before = machine.resident_peak_bytes()
    held = np.ones(before // 8 + (32 << 20), np.float64)  # more than the peak so far, and touched
    del held
    assert machine.resident_peak_bytes() >= before + (200 << 20)


@pytest.mark.slow
def test_the_peak_is_not_that_of_the_program_that_started_this_one():
    ours = np.ones(64 << 20, np.float64)  # 512 MiB
    program = "from service.benchmark import machine; print(machine.resident_peak_bytes())"
    reported = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert int(reported.stdout) < ours.nbytes // 2
