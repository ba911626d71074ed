"""The programs read no memory that was freed, although numba frees arrays read by address only."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from mt3_model.cpu.kernels.attention import attend_to_kept

heads, columns, width = 6, 256, 64
draw = np.random.default_rng(0)
query = draw.standard_normal((heads, width), np.float32) / 8
kept = draw.standard_normal((2, heads, columns, width), np.float32)
answer = np.zeros(heads * width, np.float32)
addresses = np.array([kind.ctypes.data for kind in kept])
attend_to_kept(query.ravel(), addresses, columns, columns, heads, width, answer)
weights = np.exp(np.einsum("hk,hck->hc", query, kept[0]))
weights /= weights.sum(axis=1, keepdims=True)
expected = np.einsum("hc,hck->hk", weights, kept[1])
# The products are sums of 256 float32 terms.
np.testing.assert_allclose(answer.reshape(heads, width), expected, atol=1e-5)
"""


@pytest.mark.slow
def test_attention_reads_its_weights_while_they_are_alive():
    # glibc then overwrites what is freed; elsewhere the variable has no effect.
    environment = os.environ | {"MALLOC_PERTURB_": "165"}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
