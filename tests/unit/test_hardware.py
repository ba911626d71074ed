"""`auto` is a function of the hardware alone."""

import pytest

from mt3_model.cpu.encoding import xla_encodes_faster
from mt3_model.cpu.processor import processor_features
from mt3_model.hardware import choose_precision, suitable_precision

AVX2 = frozenset({"avx", "avx2", "fma", "sse4.2"})
AVX512 = AVX2 | {"avx512f", "avx512vnni"}
ZEN4 = AVX512 | {"avx512bf16"}
SAPPHIRE_RAPIDS = ZEN4 | {"amx-tile", "amx-bf16", "amx-int8"}
ARM_WITH_BF16 = frozenset({"neon", "bf16", "sve"})


@pytest.mark.parametrize(
    ("platform", "features", "precision"),
    [
        ("cpu", AVX2, "float32"),
        ("cpu", AVX512, "float32"),
        ("cpu", ZEN4, "bfloat16"),
        ("cpu", SAPPHIRE_RAPIDS, "bfloat16"),
        ("cpu", ARM_WITH_BF16, "float32"),  # our programs have no ARM instructions
        ("cpu", frozenset(), "float32"),  # a processor that nothing is known of
        ("gpu", AVX2, "bfloat16"),
        ("tpu", frozenset(), "bfloat16"),
    ],
)
def test_auto_goes_by_the_hardware(platform, features, precision):
    assert suitable_precision(platform, features) == precision


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(precision):
    assert choose_precision(precision) == precision


def test_auto_is_one_of_the_two_and_always_the_same_here():
    assert {choose_precision("auto") for _ in range(3)} < {"float32", "bfloat16"}


def test_the_processor_has_features_by_llvms_names():
    assert all(isinstance(name, str) for name in processor_features())


@pytest.mark.parametrize(
    ("features", "by_xla"), [(AVX2, False), (ZEN4, False), (SAPPHIRE_RAPIDS, True)]
)
def test_xla_encodes_where_there_is_amx(features, by_xla):
    assert xla_encodes_faster(features) is by_xla
