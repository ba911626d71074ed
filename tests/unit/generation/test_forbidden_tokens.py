"""Forbidden tokens of a segment: never chosen, and nothing to the segments beside it."""

import dataclasses

import numpy as np
import pytest

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.cpu.kernel_pool import KernelPool
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.notes.generated import SlotEntry
from tests.unit.generation.tiny_model import TINY, random_parameters, random_segments

pytestmark = pytest.mark.slow

SHAPES = SlotShapes(rows=(6,), encode_batches=(3,), iteration_steps=16)
REQUESTS = 15


def xla_pool():
    return SlotPool(TINY, random_parameters(6), shapes=SHAPES)


def kernel_pool():
    return KernelPool(
        TINY, random_parameters(6), shapes=SHAPES, cores=2, precision="float32",
        encodes_by_xla=False,
    )  # fmt: skip


def mixed_requests():
    """Segments of both rules, a third of them without forbidden tokens."""
    random = np.random.default_rng(3)
    entries = []
    for number, segment in enumerate(random_segments(3) * (REQUESTS // 3)):
        forbidden = random.random(TINY.network.vocabulary_size) < 0.5
        forbidden[END_TOKEN] = False
        entries.append(
            SlotEntry(
                slot=0,
                segment=dataclasses.replace(segment, index=number),
                decoding="reference" if number % 2 else "greedy",
                forbidden=None if number % 3 == 0 else forbidden,
            )
        )
    return entries


def run_all(pool, entries, *, together):
    """Number of the entry -> its answer; a slot that becomes free takes the next entry."""
    waiting = list(enumerate(entries))
    free = list(range(pool.slots if together else 1))
    running, answers = {}, {}
    while waiting or running:
        count = min(len(free), len(waiting), pool.encode_batch)
        batch = [
            (number, dataclasses.replace(entry, slot=free.pop(0)))
            for number, entry in waiting[:count]
        ]
        waiting = waiting[count:]
        if batch:
            pool.insert([entry for _, entry in batch])
            running |= {entry.slot: number for number, entry in batch}
        for finished in pool.step():
            answers[running.pop(finished.slot)] = finished.generated
            free.append(finished.slot)
    return answers


@pytest.mark.parametrize("make_pool", [xla_pool, kernel_pool])
def test_no_request_has_its_forbidden_tokens_or_changes_another(make_pool):
    entries = mixed_requests()
    pool = make_pool()
    together = run_all(pool, entries, together=True)
    alone = run_all(pool, entries, together=False)
    for number, entry in enumerate(entries):
        np.testing.assert_array_equal(together[number].tokens, alone[number].tokens)
        np.testing.assert_array_equal(
            together[number].log_probabilities, alone[number].log_probabilities
        )
        if entry.forbidden is not None:
            assert not entry.forbidden[together[number].tokens].any()


def test_both_backends_choose_the_same_tokens():
    entries = mixed_requests()
    by_xla = run_all(xla_pool(), entries, together=True)
    by_kernels = run_all(kernel_pool(), entries, together=True)
    for number in range(REQUESTS):
        np.testing.assert_array_equal(by_kernels[number].tokens, by_xla[number].tokens)
