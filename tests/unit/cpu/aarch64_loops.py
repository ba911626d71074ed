"""Print the inner loops of the CPU's programs as LLVM compiles them for aarch64, as JSON.

    NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= python -m tests.unit.cpu.aarch64_loops

Any machine compiles for aarch64; nothing is run. The environment makes `vectors.py` generate
vectors of four lanes, as it does on a processor with NEON.
"""

import dataclasses
import json
import re
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types

from mt3_model.cpu.kernels import vectors

_TRIPLE, _PROCESSOR = "aarch64-unknown-linux-gnu", "neoverse-n1"
_ARGUMENTS = {"multiply_panel": 9, "score_columns": 4, "mix_columns": 4}
"""Addresses and numbers that each function takes after the stored array."""


@dataclasses.dataclass(frozen=True)
class Loop:
    """An inner loop: a label that a branch below it, without another label between, returns to."""

    products: int
    """``fmla`` of four lanes."""
    stack_accesses: int
    prefetches: int


def compile_loops(name: str, stored: Any) -> list[Loop]:
    """Compile a function of `vectors.py` and return its inner loops.

    Args:
        name: The function.
        stored: numba's type of a stored number.
    """
    count = _ARGUMENTS[name]
    module = ir.Module()
    module.triple = _TRIPLE
    function_type = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * count)
    function = ir.Function(module, function_type, name)
    builder = ir.IRBuilder(function.append_basic_block())
    signature, generate = getattr(vectors, name)._defn(
        None, types.Array(stored, 1, "C"), *[types.intp] * count
    )
    generate(_Context(), builder, signature, [None, *function.args])
    builder.ret_void()
    return _loops(_assembly(str(module)))


class _Context:
    """The part of numba's context that the functions use."""

    def get_dummy_value(self) -> None:
        """Return the value of a function without a result."""


def _assembly(code: str) -> str:
    binding = llvmlite.binding
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(_TRIPLE)
    machine = target.create_target_machine(cpu=_PROCESSOR, opt=3)
    module = binding.parse_assembly(code)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_assembly(module)


def _loops(assembly: str) -> list[Loop]:
    found: list[Loop] = []
    label, body = "", list[str]()
    for line in assembly.splitlines():
        if begins := re.match(r"(\.L\w+):", line):
            label, body = begins[1], []
        elif re.match(rf"\s+b\.\w+\s+{re.escape(label)}$", line):
            found.append(_loop(body))
        else:
            body.append(line)
    return found


def _loop(body: list[str]) -> Loop:
    return Loop(
        products=sum(bool(re.search(r"\bfmla\b.*\.4s", line)) for line in body),
        stack_accesses=sum("[sp" in line for line in body),
        prefetches=sum("prfm" in line for line in body),
    )


if __name__ == "__main__":
    stored_types = {"float32": types.float32, "bfloat16": types.uint16}
    print(
        json.dumps(
            {
                f"{name} {word}": [dataclasses.asdict(loop) for loop in compile_loops(name, stored)]
                for name in _ARGUMENTS
                for word, stored in stored_types.items()
            }
        )
    )
