"""Run in a process of its own by `test_several_devices.py`: tokens of a tiny model, as JSON.

XLA takes the number of devices before it starts, so that they cannot be had in the process
that runs the tests.
"""

import dataclasses
import json

import jax

from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.generated import SlotEntry
from tests.unit.generation.tiny_model import TINY, random_parameters, random_segments

SHAPES = SlotShapes(rows=(2, 5), encode_batches=(2,), iteration_steps=16)
SEGMENTS = 23
"""More than all slots of four devices: some wait and are given a row that was used."""


def many_segments():
    return [
        dataclasses.replace(segment, index=index)
        for index, segment in enumerate((random_segments(5) * SEGMENTS)[:SEGMENTS])
    ]


def all_tokens(pool, decoding):
    return [answer.tokens.tolist() for _, answer in generate(pool, many_segments(), decoding)]


def rows_in_use(pool):
    """Taken rows of each device, after as many segments as there are devices."""
    segments = many_segments()[: pool.devices]
    pool.insert([SlotEntry(slot=n, segment=s, decoding="greedy") for n, s in enumerate(segments)])
    taken = pool._taken_rows()
    pool.release(range(pool.slots))
    return taken


if __name__ == "__main__":
    pool = SlotPool(TINY, random_parameters(6), shapes=SHAPES)
    print(
        json.dumps(
            {
                "devices": len(jax.local_devices()),
                "slots": pool.slots,
                "encode_batch": pool.encode_batch,
                "rows_in_use": rows_in_use(pool),
                "greedy": all_tokens(pool, "greedy"),
                "reference": all_tokens(pool, "reference"),
            }
        )
    )
