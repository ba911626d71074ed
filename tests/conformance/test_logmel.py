"""Levels 1 and 2: segments and log-mel equal the original's.

Tolerance 5e-3 in natural-log units: the spectrum is equal bit for bit (DUCC's FFT on both sides,
TensorFlow's window), and the mel product differs by the order of its float32 sums, which shows
where a mel bin is small beside its neighbours. Measured: 2.1e-3 on segment 1, 4.3e-4 on segment 0,
whose first frames are near-silence, where a wrong last bit of the window moves cells by up to 15.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.segments import split_segments
from tests.conformance.golden_files import NAMES, read_arrays, read_golden

LOGMEL_TOLERANCE = 5e-3

pytestmark = pytest.mark.shared


@pytest.mark.parametrize("name", NAMES)
def test_segments_start_and_end_where_the_originals_do(name, shared_folder):
    golden = read_golden(shared_folder, name)
    expected = golden.decoding("reference")["segments"]
    segments = list(split_segments([golden.samples], MT3))
    assert [(s.start_time, s.frames) for s in segments] == [
        (e["start_time"], e["frames"]) for e in expected
    ]


@pytest.mark.parametrize(
    ("index", "name"), [(0, "logmel_seg0"), (1, "logmel_seg1"), (-1, "logmel_last_padded")]
)
def test_logmel_equals_the_originals(index, name, shared_folder):
    segments = list(split_segments([read_golden(shared_folder, "mixed").samples], MT3))
    expected = read_arrays(shared_folder)[name]
    ours = _logmel(segments[index])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=LOGMEL_TOLERANCE)


def test_frames_after_the_recording_are_rows_of_exact_zeros(shared_folder):
    *_, last = split_segments([read_golden(shared_folder, "mixed").samples], MT3)
    assert last.frames < MT3.segment_frames
    ours = _logmel(last)
    assert not ours[last.frames :].any()
    assert ours[: last.frames].any(axis=1).all()


def _logmel(segment):
    function = jax.jit(compute_logmel, static_argnums=2)
    frames = jnp.array([segment.frames], jnp.int32)
    return np.asarray(function(jnp.asarray(segment.samples)[None], frames, MT3.spectrogram))[0]
