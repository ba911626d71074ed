"""The shapes that suit a device."""

import dataclasses

import jax
import pytest

from mt3_model.generation.shapes import (
    COLUMN_BUCKETS,
    SlotShapes,
    fit_memory,
    row_bytes,
    suitable_shapes,
)
from mt3_model.spec import MT3

GPU = SlotShapes(
    rows=(64, 128, 256, 512), encode_batches=(64,), iteration_steps=16, columns=(1_024,)
)
GIB = 2**30


def test_reproducible_shapes_have_one_program():
    shapes = suitable_shapes(reproducible=True)
    assert (shapes.rows, shapes.columns) == ((32,), (1_024,))
    assert suitable_shapes(20, reproducible=True).rows == (20,)


@pytest.mark.parametrize(
    ("slots", "batches"), [(None, (16, 64)), (20, (16, 20)), (16, (16,)), (5, (5,))]
)
def test_an_encode_batch_has_no_more_segments_than_there_are_slots(slots, batches, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert suitable_shapes(slots).encode_batches == batches
    assert suitable_shapes(slots, reproducible=True).encode_batches == batches[-1:]


def test_a_batch_is_encoded_in_the_smallest_one_that_holds_it():
    shapes = SlotShapes(encode_batches=(16, 64))
    assert [shapes.encode_batch_for(count) for count in (1, 16, 17, 64)] == [16, 16, 64, 64]


def test_one_column_bucket_keeps_the_buckets_of_rows():
    assert suitable_shapes().columns == COLUMN_BUCKETS
    one = dataclasses.replace(suitable_shapes(), columns=COLUMN_BUCKETS[-1:])
    assert suitable_shapes(one_column_bucket=True) == one


def test_a_row_has_keys_and_values_of_every_token_and_frame():
    # Keys and values, 8 layers, 6 heads of 64 numbers, 1,024 tokens and 256 frames.
    numbers = 2 * 8 * 6 * 64 * (1_024 + 256)
    assert row_bytes(MT3, "bfloat16") == 2 * numbers
    assert row_bytes(MT3, "float32") == 4 * numbers


@pytest.mark.parametrize(
    ("memory", "precision", "rows"),
    [
        (None, "bfloat16", (64, 128, 256, 512)),
        (105 * GIB, "float32", (64, 128, 256, 512)),
        (18 * GIB, "bfloat16", (64, 128, 256, 512)),
        (12 * GIB, "bfloat16", (64, 128, 256)),
        (10 * GIB, "float32", (64, 128)),
        (1 * GIB, "bfloat16", (64,)),
    ],
)
def test_a_small_device_has_fewer_rows(memory, precision, rows):
    assert fit_memory(GPU, row_bytes(MT3, precision), memory).rows == rows
