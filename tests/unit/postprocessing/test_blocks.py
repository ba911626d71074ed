"""The results of blocks come in the order of the blocks."""

import pytest

from mt3_model.postprocessing.blocks import map_blocks


def test_results_come_in_the_order_of_the_blocks():
    assert map_blocks(lambda block: block * 10, range(8)) == [*range(0, 80, 10)]
    assert map_blocks(lambda block: block * 10, []) == []


def test_an_error_in_a_block_is_raised():
    def compute(block):
        raise ValueError(block)

    with pytest.raises(ValueError, match="3"):
        map_blocks(compute, [3])
