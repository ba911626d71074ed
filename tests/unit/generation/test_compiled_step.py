"""XLA's program of an iteration of the published network copies nothing large.

Read off the compiled program, for the sizes that are served; no weights are needed. In float32: on
a CPU the programs of bfloat16 are not XLA's (`tests/unit/cpu`).
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.checkpoint.loading import nest_arrays
from mt3_model.generation import steps as verbs
from mt3_model.generation.precision import stored_parameters
from mt3_model.generation.steps import Steps
from mt3_model.network.params import parameter_shapes
from mt3_model.spec import MT3

pytestmark = pytest.mark.slow


ROWS, COLUMNS = 8, 192


@pytest.fixture(scope="module")
def compiled():
    steps = Steps(spec=MT3, devices=tuple(jax.local_devices()))
    shapes = parameter_shapes(MT3.network).items()
    zeros = nest_arrays({path: np.zeros(shape, np.float32) for path, shape in shapes})
    parameters = jax.device_put(stored_parameters(zeros, "float32"), steps.everywhere)
    state, structure = steps._shapes(ROWS, COLUMNS)
    return steps, verbs._step.lower(steps, 8, structure, parameters, state).compile()


def test_the_whole_state_is_updated_in_place(compiled):
    steps, program = compiled
    memory = program.memory_analysis()
    state = sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(steps.empty_state(ROWS, COLUMNS))
    )
    assert memory.alias_size_in_bytes == state
    assert memory.output_size_in_bytes - state < 10_000  # pointers


def test_a_step_needs_no_room_for_a_copy_of_any_cache(compiled):
    steps, program = compiled
    cache = steps.empty_state(ROWS, COLUMNS).cache.self_attention[0].keys
    smallest = cache.size * cache.dtype.itemsize
    assert program.memory_analysis().temp_size_in_bytes < smallest


def test_no_operation_copies_or_converts_an_array_as_large_as_a_cache(compiled):
    _, program = compiled
    column = ROWS * MT3.network.heads * MT3.network.head_width
    moving = re.compile(r"= \w+\[([\d,]+)\]\S* (?:copy|convert|bitcast-convert|transpose|pad)\(")
    sizes = [
        int(np.prod([int(number) for number in match.group(1).split(",")]))
        for match in moving.finditer(program.as_text())
    ]
    assert sizes, "the pattern finds the small ones"
    # The tables of tokens and positions are constants; weights are read where they lie.
    assert max(sizes) <= max(column, ROWS * MT3.network.vocabulary_size)


def test_the_pattern_would_find_a_copied_cache():
    """XLA does convert a whole bfloat16 cache where a column is scattered into it."""

    def scatter(cache, column):
        return cache.at[jnp.arange(ROWS), :, jnp.zeros(ROWS, jnp.int32)].set(column)

    cache = jnp.zeros((ROWS, 6, COLUMNS, 64), jnp.bfloat16)
    program = jax.jit(scatter, donate_argnums=0).lower(cache, cache[:, :, 0]).compile()
    assert re.search(rf"\[{ROWS},6,{COLUMNS},64\]\S* convert\(", program.as_text())
