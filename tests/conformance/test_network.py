"""Levels 3 and 4: encoder output and logits equal the original's, in float32 on the CPU.

Tolerances are ten times what was measured (encoder 9.1e-6, logits 7.6e-5), which is the order of
float32 sums through 8 layers; a wrong mask, position or activation differs by more than 1e-2.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.checkpoint.loading import load_checkpoint
from mt3_model.network.transformer import Transformer
from mt3_model.spec import MT3
from tests.conformance.golden_files import read_arrays, read_golden

ENCODER_TOLERANCE = 1e-4
LOGITS_TOLERANCE = 1e-3

pytestmark = [pytest.mark.shared, pytest.mark.checkpoint]


@pytest.fixture(scope="module")
def variables(checkpoint_folder):
    return {"params": load_checkpoint(checkpoint_folder, MT3).parameters}


def test_encoder_output_equals_the_originals(variables, shared_folder):
    arrays = read_arrays(shared_folder)
    encoded = Transformer(MT3.network).apply(
        variables,
        jnp.asarray(arrays["logmel_seg0"])[None],
        method=lambda network, logmel: network.encoder(logmel),
    )
    np.testing.assert_allclose(encoded[0], arrays["encoder_seg0"], rtol=0, atol=ENCODER_TOLERANCE)


def test_teacher_forced_logits_equal_the_originals(variables, shared_folder):
    arrays = read_arrays(shared_folder)
    segment = read_golden(shared_folder, "mixed").decoding("greedy")["segments"][0]
    logmel = jnp.asarray(arrays["logmel_seg0"])[None]
    tokens = jnp.array([segment["tokens"]], jnp.int32)
    logits = Transformer(MT3.network).apply(variables, logmel, tokens)
    np.testing.assert_allclose(
        logits[0], arrays["teacher_logits_seg0"], rtol=0, atol=LOGITS_TOLERANCE
    )
    np.testing.assert_allclose(
        logits[0, 0], arrays["first_logits_seg0"], rtol=0, atol=LOGITS_TOLERANCE
    )
