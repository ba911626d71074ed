"""A fixed report as JSON and as a table."""

import dataclasses
import json
import pathlib

import service
from mt3_model.notes.transcription import ModelProvenance
from service.benchmark.benchmark_report import (
    BenchmarkReport,
    MemoryFigures,
    Setting,
    Stage,
)
from service.benchmark.callers import CallersResult, Percentiles
from service.benchmark.machine import Machine
from service.benchmark.table import describe, to_table

RESULT = CallersResult(
    callers=4,
    transcriptions=8,
    audio_seconds=80.0,
    wall_seconds=10.0,
    first_notes_seconds=Percentiles(p50=1.25, p90=2.5, max=12.5),
    last_notes_seconds=Percentiles(p50=3.0, p90=4.0, max=125.0),
    segments=40,
    tokens=5_000,
    slot_fill=0.625,
    resident_peak_bytes=100 << 20,
)
REPORT = BenchmarkReport(
    date="2026-11-21T12:00:00+00:00",
    model=ModelProvenance(
        name="mt3", checkpoint_sha256="c0ffee", code_version="0.1.0", precision="float32"
    ),
    setting=Setting(
        recordings=("song.mp3",),
        seconds=10.0,
        rounds=2,
        decoding="greedy",
        slots=32,
        encode_batch=4,
    ),
    machine=Machine(
        processor="A Processor",
        cores=2,
        memory_bytes=24 << 30,
        platform="cpu",
        device="cpu",
        devices=1,
    ),
    versions={"python": "3.11.7", "jax": "0.10.2"},
    load_seconds=0.5,
    warm_up_seconds=3.25,
    callers=(RESULT,),
    stages=(
        Stage(name="decode", seconds=0.25, units=1, unit="recording"),
        Stage(name="mel", seconds=0.125, units=5, unit="segment"),
        Stage(
            name="encode",
            seconds=0.5,
            units=5,
            unit="segment",
        ),
        Stage(
            name="generate",
            seconds=1.0,
            units=500,
            unit="token",
        ),
    ),
    memory=MemoryFigures(resident_peak_bytes=1_500 << 20, device_peak_bytes=None),
)


def line_with(table, start):
    """Return the line with this beginning, its cells one space apart."""
    (line,) = (line for line in table.splitlines() if line.startswith(start))
    return " ".join(line.split())


def test_the_table_has_every_figure():
    table = to_table(REPORT)
    assert line_with(table, "4 ") == "4 8.00 10.0 1.25 2.50 12.5 3.00 4.00 125 500 62%"
    assert line_with(table, "encode ") == "encode 0.500 5 segments 100.00 ms"
    assert line_with(table, "generate ") == "generate 1.000 500 tokens 2.00 ms"
    assert line_with(table, "decode ") == "decode 0.250 1 recording 250.00 ms"
    # mel is part of encode: 0.25 + 0.5 + 1.0.
    assert line_with(table, "total ") == "total 1.750"
    assert "peak memory: 1,500 MiB resident\n" in table
    assert "start: loading 0.5 s, warming up 3.2 s" in table
    assert "checkpoint mt3 c0ffee" in table
    assert "jax 0.10.2" in table


def test_columns_are_aligned():
    lines = to_table(dataclasses.replace(REPORT, callers=(RESULT, RESULT))).splitlines()
    head, rule, first, second = lines[1], lines[2], lines[3], lines[4]
    assert set(rule) == {"-"}
    assert first == second
    for name, figure in (("wall s", "10.0"), ("tokens/s", "500"), ("slots", "62%")):
        assert head.index(name) + len(name) == first.index(figure) + len(figure)
    assert all(len(line) <= 110 for line in lines)


def test_the_devices_memory_is_told_where_it_is_known():
    memory = dataclasses.replace(REPORT.memory, device_peak_bytes=2_048 << 20)
    assert "resident; device 2,048 MiB" in to_table(dataclasses.replace(REPORT, memory=memory))


def test_it_is_said_what_is_measured():
    assert describe(REPORT.setting, REPORT.model, REPORT.machine, (1, 4)).splitlines() == [
        "model: mt3, float32 by xla, greedy; 32 slots",
        "machine: A Processor, 2 cores, 24 GiB; device: 1 x cpu",
        "measured: 1, 4 callers at once, 2 rounds, each with 10 s of song.mp3",
    ]


def test_the_json_has_every_figure_and_what_follows_from_it():
    content = json.loads(REPORT.to_json())
    assert content["format"] == 2
    assert content["model"]["checkpoint_sha256"] == "c0ffee"
    assert content["setting"]["recordings"] == ["song.mp3"]
    assert content["machine"]["processor"] == "A Processor"
    (callers,) = content["concurrency"]
    assert callers["audio_seconds_per_second"] == 8.0
    assert callers["tokens_per_second"] == 500.0
    assert callers["first_notes_seconds"] == {"p50": 1.25, "p90": 2.5, "max": 12.5}
    encode = content["stages"][2]
    assert encode["unit_seconds"] == 0.1
    assert content["memory"]["device_peak_bytes"] is None


def test_the_chapter_names_every_field_of_the_json():
    chapter = (pathlib.Path(service.__path__[0]) / "benchmark" / "README.md").read_text(
        encoding="utf-8"
    )

    def names(value):
        if isinstance(value, list):
            value = (
                {name: item for each in value for name, item in each.items()}
                if (value and isinstance(value[0], dict))
                else {}
            )
        if not isinstance(value, dict):
            return set()
        return set(value).union(*map(names, value.values()))

    content = json.loads(REPORT.to_json())
    content["versions"] = {}  # libraries, named by themselves
    assert len(names(content)) > 40
    assert not {name for name in names(content) if f"`{name}`" not in chapter}
