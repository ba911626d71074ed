"""The inner loops on aarch64: compiled for it by LLVM on any machine, and inspected; not run."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def loops():
    """Compile in a process of its own: vectors have the lanes of the processor at import."""
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-m", "tests.unit.cpu.aarch64_loops"]
    output = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    return json.loads(output)


@pytest.mark.parametrize(("stored", "rows", "products"), [("float32", 6, 4), ("bfloat16", 4, 8)])
def test_a_panel_is_multiplied_in_registers_alone(loops, stored, rows, products):
    """Sixteen columns are four vectors; a word of bfloat16 has two factors."""
    multiply = loops[f"multiply_panel {stored}"]

    assert sorted(loop["products"] for loop in multiply) == [
        products * count for count in range(1, rows + 1)
    ]
    assert all(loop["stack_accesses"] == 0 for loop in multiply)
    assert all(loop["prefetches"] == 1 for loop in multiply)


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["score_columns", "mix_columns"])
def test_a_column_of_a_head_is_sixteen_products_in_registers(loops, name, stored):
    """A head of 64 is sixteen vectors of four."""
    (loop,) = loops[f"{name} {stored}"]

    assert loop == {"products": 16, "stack_accesses": 0, "prefetches": 0}
