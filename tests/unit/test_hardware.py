"""Precision and programs are a function of the settings and the hardware alone."""

import types

import jax
import pytest

from mt3_model.cpu.encoders import xla_encodes_faster
from mt3_model.cpu.kernel_pool import KernelPool
from mt3_model.cpu.processor import instruction_set, processor_features
from mt3_model.errors import OptionError
from mt3_model.generation.slots import SlotPool
from mt3_model.hardware import choose_arithmetic, open_backend, runs_triton, suitable_arithmetic
from tests.unit.generation.tiny_model import TINY, random_parameters

AVX2 = frozenset({"avx", "avx2", "fma", "sse4.2"})
AVX512 = AVX2 | {"avx512f", "avx512vnni"}
ZEN4 = AVX512 | {"avx512bf16"}
SAPPHIRE_RAPIDS = ZEN4 | {"amx-tile", "amx-bf16", "amx-int8"}
ARM_WITH_BF16 = frozenset({"neon", "bf16", "sve"})


def chosen(platforms, features, precision="auto", cpu_kernels="auto"):
    arithmetic = suitable_arithmetic(precision, cpu_kernels, platforms=platforms, features=features)
    return arithmetic.precision, arithmetic.kernels, arithmetic.instruction_set


@pytest.mark.parametrize(
    ("platform", "features", "expected"),
    [
        ("cpu", AVX2, ("float32", "numba", "AVX2")),
        ("cpu", AVX512, ("float32", "numba", "AVX-512")),
        ("cpu", ZEN4, ("bfloat16", "numba", "AVX-512 BF16")),
        ("cpu", SAPPHIRE_RAPIDS, ("bfloat16", "numba", "AMX")),
        ("cpu", ARM_WITH_BF16, ("float32", "xla", "NEON")),  # not measured
        ("cpu", frozenset(), ("float32", "xla", "baseline")),  # an unknown processor
        ("gpu", AVX2, ("bfloat16", "xla", None)),
        ("tpu", frozenset(), ("bfloat16", "xla", None)),
    ],
)
def test_auto_goes_by_the_hardware(platform, features, expected):
    assert chosen([platform], features) == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_named_precision_is_taken(precision):
    assert choose_arithmetic(precision).precision == precision
    assert chosen(["gpu"], AVX2, precision) == (precision, "xla", None)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_setting_turns_the_cpus_own_programs_on_and_off(precision):
    for features in (AVX2, AVX512, ZEN4, ARM_WITH_BF16):
        for setting, kernels in (("on", "numba"), ("off", "xla")):
            assert chosen(["cpu"], features, precision, setting)[:2] == (precision, kernels)


@pytest.mark.parametrize("platforms", [["gpu"], ["cpu", "cpu"]])
def test_the_cpus_own_programs_need_one_cpu(platforms):
    assert chosen(platforms, ZEN4)[1] == "xla"
    with pytest.raises(OptionError, match="MT3_CPU_KERNELS"):
        chosen(platforms, ZEN4, cpu_kernels="on")


def test_attention_of_triton_computes_where_it_runs_unless_turned_off():
    def chosen_on_gpu(setting, *, runs):
        arithmetic = suitable_arithmetic(
            "auto", "auto", setting, platforms=["gpu"], features=AVX2, runs_triton=runs
        )
        return arithmetic.kernels

    assert chosen_on_gpu("auto", runs=True) == chosen_on_gpu("on", runs=True) == "triton"
    assert chosen_on_gpu("off", runs=True) == chosen_on_gpu("auto", runs=False) == "xla"
    with pytest.raises(OptionError, match="MT3_GPU_KERNELS is on, and JAX found gpu"):
        chosen_on_gpu("on", runs=False)


@pytest.mark.parametrize(
    ("platform", "capability", "runs"),
    [
        ("gpu", "9.0", True),
        ("gpu", "10.0", True),
        ("gpu", "8.0", True),
        ("gpu", "7.5", False),
        ("gpu", "gfx942", False),
        ("tpu", None, False),
    ],
)
def test_triton_runs_on_nvidias_gpus_from_ampere_on(platform, capability, runs):
    device = types.SimpleNamespace(platform=platform, compute_capability=capability)
    assert runs_triton(device) is runs


def test_triton_does_not_run_on_a_cpu():
    assert not runs_triton(jax.local_devices()[0])


def test_the_choice_is_always_the_same_here():
    assert len({choose_arithmetic() for _ in range(3)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("setting", "pool"), [("on", KernelPool), ("off", SlotPool)])
def test_the_backend_is_the_one_chosen(precision, setting, pool):
    arithmetic = choose_arithmetic(precision, setting)
    backend = open_backend(TINY, random_parameters(6), arithmetic)
    assert isinstance(backend, pool)
    assert backend.precision == precision


def test_the_processor_has_features_by_llvms_names():
    assert all(isinstance(name, str) for name in processor_features())
    assert instruction_set(processor_features())


@pytest.mark.parametrize(
    ("features", "by_xla"), [(AVX2, False), (ZEN4, False), (SAPPHIRE_RAPIDS, True)]
)
def test_xla_encodes_where_there_is_amx(features, by_xla):
    assert xla_encodes_faster(features) is by_xla


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,-avx512f"}, "AVX2"),
        ({"NUMBA_CPU_NAME": "generic"}, "baseline"),
    ],
)
def test_the_instruction_sets_are_those_that_numba_compiles_for(monkeypatch, environment, name):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    assert instruction_set(processor_features()) == name
