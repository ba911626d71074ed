"""Damaged or unwritable caches of machine code cost a compilation, and nothing else."""

import logging
import runpy

import numba
import pytest

SOURCE = """
from mt3_model.cpu.kernels.compiling import program

@program()
def double(number):
    return number + number
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "doubling.py"
    file.write_text(SOURCE)
    return file


def start(module):
    """Compile the program, or load it, as a new process does; return its number of loads."""
    double = runpy.run_path(str(module))["double"]
    double.compile("int64(int64)")
    assert double(21) == 42
    return sum(double.stats.cache_hits.values())


def kept(module, suffix):
    (file,) = (module.parent / "cache").rglob(f"*{suffix}")
    return file


def test_the_second_start_loads_the_program(module, caplog):
    assert [start(module), start(module)] == [0, 1]
    assert not caplog.records


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: bytes(len(content)),
        lambda content: bytes(byte ^ 255 for byte in content),
    ],
    ids=["empty", "halved", "zeroed", "flipped"],
)
def test_a_damaged_file_is_reported_and_replaced(module, caplog, suffix, damage):
    start(module)
    file = kept(module, suffix)
    file.write_bytes(damage(file.read_bytes()))
    assert start(module) == 0
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "compiled again" in record.getMessage()
    assert str(file.parent) in record.getMessage()
    assert start(module) == 1


def test_machine_code_with_one_changed_byte_is_not_run(module, caplog):
    start(module)
    file = kept(module, ".nbc")
    content = bytearray(file.read_bytes())
    content[content.index(b"\x7fELF") + 80] ^= 1  # of the object file; still a valid pickle
    file.write_bytes(content)
    assert start(module) == 0
    assert "differ" in caplog.text


def test_a_folder_that_cannot_be_written_is_reported_and_the_program_runs(module, caplog):
    start(module)
    folder = kept(module, ".nbi").parent
    double = runpy.run_path(str(module))["double"]
    folder.rename(folder.with_name("away"))
    folder.touch()  # root may write to any folder, but not into a file
    double.compile("int64(int64)")
    assert double(21) == 42
    assert "cannot be kept" in caplog.text
