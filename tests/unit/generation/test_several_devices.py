"""Slots shared out over four devices (of one CPU) give the tokens that one device gives."""

import json
import os
import subprocess
import sys

import pytest

from mt3_model.generation.slots import SlotPool
from tests.unit.generation.several_devices import SHAPES, all_tokens
from tests.unit.generation.tiny_model import TINY, random_parameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def on_four_devices():
    answer = subprocess.run(
        [sys.executable, "-m", "tests.unit.generation.several_devices"],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_each_device_brings_its_slots(on_four_devices):
    assert on_four_devices["devices"] == 4
    assert on_four_devices["slots"] == 4 * SHAPES.rows[-1]
    assert on_four_devices["encode_batch"] == 4 * SHAPES.encode_batch


def test_a_few_segments_are_spread_over_the_devices(on_four_devices):
    assert on_four_devices["rows_in_use"] == [1, 1, 1, 1]


@pytest.mark.parametrize("decoding", ["greedy", "reference"])
def test_four_devices_give_the_tokens_of_one(on_four_devices, decoding):
    one = SlotPool(TINY, random_parameters(6), shapes=SHAPES)
    assert one.devices == 1
    assert on_four_devices[decoding] == all_tokens(one, decoding)
