"""The benchmark for accelerators, where it can go wrong without one: files, judgement, lengths."""

import dataclasses
import json
import math

import numpy as np
import pytest

from mt3_model.checkpoint.loading import flatten_parameters
from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import COLUMN_BUCKETS, SlotShapes
from mt3_model.network.params import parameter_shapes
from mt3_model.notes.generated import SlotEntry
from mt3_model.spec import MT3
from tests.benchmarks.gpu import material, run, shapes, store
from tests.benchmarks.gpu.agreement import compare, count_notes, summarize
from tests.benchmarks.gpu.pools import open_pool, random_parameters
from tests.benchmarks.gpu.report import Deadline, OutOfTimeError, Report
from tests.benchmarks.gpu.stages import StageTimer, encode_operations, step_bytes
from tests.benchmarks.gpu.throughput import Music, run_hour, split_time, tile_clips, tile_noise
from tests.unit.generation.tiny_model import TINY, random_segments

pytestmark = pytest.mark.slow


TINY_SHAPES = SlotShapes(rows=(2, 3), encode_batches=(2,), iteration_steps=16)
FIVE_TOKENS = material.Expected(
    tokens=np.array([5, 6, 7, 8, 1], np.int32),
    rivals=np.array([[9, 4], [9, 4], [9, 4], [9, 4], [9, 4]], np.int32),
    gaps=np.array([[3, 4], [3, 4], [0.004, 2], [3, 4], [3, 4]], np.float32),
)


@pytest.fixture
def packed(tmp_path):
    """A folder of material made from random weights and one short clip."""
    folder = tmp_path / "material"
    folder.mkdir()
    material.write_parameters(random_parameters(TINY), folder)
    material.write_clips([clip()], folder)
    material.write_manifest(folder, {"checkpoint_sha256": "abc"})
    return folder


def clip(samples=2_000, dense=True, expected=(FIVE_TOKENS, FIVE_TOKENS)):
    values = np.arange(samples, dtype=np.int16)
    return material.Clip(name="scale", samples=values, dense=dense, expected=expected)


# Material


def test_parameters_come_back_from_two_parts_bit_for_bit(packed):
    written = flatten_parameters(random_parameters(TINY))
    read = flatten_parameters(material.read_parameters(packed))
    assert read.keys() == written.keys() == parameter_shapes(TINY.network).keys()
    assert all(np.array_equal(read[path], written[path]) for path in written)
    assert {array.dtype for array in read.values()} == {np.dtype(np.float32)}


def test_each_part_of_the_published_weights_is_under_48_megabytes():
    sizes = {path: math.prod(shape) for path, shape in parameter_shapes(MT3.network).items()}
    parts = material.divide(sizes)
    assert sorted(path for part in parts for path in part) == sorted(sizes)
    assert all(2 * sum(sizes[path] for path in part) < 48e6 for part in parts)


def test_parameters_that_bfloat16_cannot_hold_are_refused(tmp_path):
    parameters = random_parameters(TINY)
    parameters["decoder"]["decoder_norm"]["scale"][0] = 1.001  # bfloat16 has 1.0 and 1.0078125
    with pytest.raises(ValueError, match="decoder_norm/scale is not rounded"):
        material.write_parameters(parameters, tmp_path)
    rounded = material.round_parameters(parameters)
    assert rounded["decoder"]["decoder_norm"]["scale"][0] == 1.0
    material.write_parameters(rounded, tmp_path)


def test_clips_come_back_with_their_expected_tokens(packed):
    (read,) = material.read_clips(packed)
    assert (read.name, read.dense) == ("scale", True)
    assert np.array_equal(read.samples, clip().samples)
    assert len(read.expected) == 2
    for row in read.expected:
        assert row.tokens.tolist() == [5, 6, 7, 8, 1]
        assert row.rivals.tolist() == FIVE_TOKENS.rivals.tolist()
        assert row.gaps.tolist() == FIVE_TOKENS.gaps.tolist()


def test_samples_are_the_integers_over_full_scale():
    # 2,000 samples are 16 hops of 128 with padding: two segments of eight frames.
    first, second = clip().segments(TINY)
    assert first.samples[1] == 1 / 32_768
    assert second.samples[:3].tolist() == [1_024 / 32_768, 1_025 / 32_768, 1_026 / 32_768]


# Store


def test_a_part_at_a_time_fills_the_store(packed, tmp_path):
    kept = tmp_path / "store"
    second = (packed / material.PART_FILES[1]).rename(tmp_path / "later")
    stock = store.keep_material(packed, kept)
    assert stock.missing == (material.PART_FILES[1],)

    for name in (material.PART_FILES[0], material.MATERIAL_FILE):
        (packed / name).unlink()
    second.rename(packed / material.PART_FILES[1])
    stock = store.keep_material(packed, kept)
    assert stock == store.Stock(folder=kept, missing=())
    assert material.read_parameters(kept)


def test_a_damaged_part_is_not_stored(packed, tmp_path):
    part = packed / material.PART_FILES[0]
    part.write_bytes(part.read_bytes()[:-1] + b"\1")
    stock = store.keep_material(packed, tmp_path / "store")
    assert stock.missing == (material.PART_FILES[0],)
    assert not (tmp_path / "store" / material.PART_FILES[0]).exists()


def test_parts_of_other_material_count_as_missing(packed, tmp_path):
    kept = tmp_path / "store"
    store.keep_material(packed, kept)
    material.write_parameters(random_parameters(TINY, seed=1), packed)
    material.write_manifest(packed, {})
    (packed / material.PART_FILES[1]).unlink()
    assert store.keep_material(packed, kept).missing == (material.PART_FILES[1],)


def test_without_a_manifest_there_is_no_material(tmp_path):
    with pytest.raises(store.NoMaterialError, match="pack"):
        store.keep_material(tmp_path, None)


def test_the_command_stops_with_a_status_of_its_own_while_a_part_is_missing(packed, tmp_path):
    (packed / material.PART_FILES[1]).unlink()
    arguments = ["--material", str(packed), "--store", str(tmp_path / "store")]
    assert run.main([*arguments, "--json", str(tmp_path / "out.json")]) == run.EXIT_INCOMPLETE
    assert not (tmp_path / "out.json").exists()


# Agreement


@pytest.mark.parametrize(
    ("tokens", "verdict", "position", "gap"),
    [
        ([5, 6, 7, 8, 1], "equal", None, None),
        ([5, 6, 9, 3, 3, 1], "near_tie", 2, 0.004),  # the best rival, 0.004 behind
        ([5, 6, 4, 8, 1], "different", 2, 2.0),  # the second rival, too far behind
        ([5, 6, 3, 8, 1], "different", 2, None),  # no rival at all
        ([5, 9, 7, 8, 1], "different", 1, 3.0),  # the first difference decides, not a later tie
        ([5, 6, 7, 8], "different", 4, None),
    ],
)
def test_verdicts(tokens, verdict, position, gap):
    comparison = compare(FIVE_TOKENS, tokens, 0.01)
    assert comparison.verdict == verdict
    assert comparison.position == position
    assert comparison.gap == pytest.approx(gap)


def test_a_summary_counts_verdicts_and_names_what_is_wrong():
    rows = ([5, 6, 7, 8, 1], [5, 6, 9, 1], [5, 6, 4, 1], [5, 6, 3, 1])
    summary = summarize(compare(FIVE_TOKENS, row, 0.01) for row in rows)
    assert (summary["equal"], summary["near_tie"], summary["different"]) == (1, 1, 2)
    assert summary["widest_gap"] == 2.0
    assert [wrong["segment"] for wrong in summary["wrong"]] == [2, 3]


def test_equal_tokens_give_equal_notes_and_others_do_not():
    # Token 1134 begins the ties; then a shift, a program, velocity and a pitch, as MT3 writes them.
    tied, on, program, pitch = 1_134, 1_133, 1_139, 1_063
    played = np.array([tied, 24, program, on, pitch, 74, 1_132, pitch, 1], np.int32)
    higher = np.where(played == pitch, pitch + 1, played)
    row = dataclasses.replace(FIVE_TOKENS, tokens=played)
    one = clip(samples=20_000, expected=(row,))
    assert count_notes(one, [played], MT3) == {"of_the_cpu": 1, "of_the_device": 1, "in_both": 1}
    assert count_notes(one, [higher], MT3) == {"of_the_cpu": 1, "of_the_device": 1, "in_both": 0}


# Lengths and music


def test_segments_of_random_weights_have_the_recorded_lengths():
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32", (3, 40, 16, 17))
    answers = list(generate(pool, [*random_segments(9)], "greedy"))
    assert [len(row.tokens) for _, row in answers] == [3, 40, 16, 17, 3, 40, 16, 17, 3]
    assert pool.inserts == 5  # two at a time


def test_iterations_are_counted_by_the_columns_in_use():
    smallest, following = COLUMN_BUCKETS[:2]
    iterations = smallest // TINY_SHAPES.iteration_steps  # that the smallest bucket has columns for
    lengths = ((iterations + 1) * TINY_SHAPES.iteration_steps,)
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32", lengths)
    (segment,) = random_segments(1)
    pool.insert([SlotEntry(slot=2, segment=segment, decoding="greedy")])
    ended = [[row.slot for row in pool.step()] for _ in range(iterations + 1)]
    assert pool.iterations == {(2, smallest): iterations, (2, following): 1}
    assert ended == [[]] * iterations + [[2]]


def test_iterations_are_counted_by_the_rows_in_use():
    # Three rows until the first segment has ended after one iteration, then two.
    steps = TINY_SHAPES.iteration_steps
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32", (steps, 3 * steps))
    first, second, third = random_segments(3)
    third = dataclasses.replace(third, index=1)
    pool.insert(
        [SlotEntry(slot=s, segment=x, decoding="greedy") for s, x in ((0, first), (1, second))]
    )
    pool.insert([SlotEntry(slot=2, segment=third, decoding="greedy")])
    ended = [[row.slot for row in pool.step()] for _ in range(4)]
    assert ended == [[0], [], [1, 2], []]
    assert pool.iterations == {(3, COLUMN_BUCKETS[0]): 1, (2, COLUMN_BUCKETS[0]): 2}


def test_random_weights_never_end_by_themselves():
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32")
    (answer,) = [row for _, row in generate(pool, random_segments(1), "greedy")]
    assert len(answer.tokens) == TINY.max_tokens
    assert 1 not in answer.tokens


def test_the_slots_are_free_again_after_forced_lengths():
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32", (20,))
    music = Music(segments=random_segments(3), lengths=(20,))
    first = run_hour(pool, music, Deadline(60))[1]
    second = run_hour(pool, music, Deadline(60))[1]
    assert [len(row.tokens) for row in first + second] == [20] * 6


def test_an_hour_is_made_of_the_clips_full_segments():
    # TINY's segments have 1,024 samples: 2,048 are two full ones and the padding's short third.
    other = dataclasses.replace(FIVE_TOKENS, tokens=np.array([7, 1], np.int32))
    clips = [clip(2_048, expected=(FIVE_TOKENS, other, FIVE_TOKENS))]
    music = tile_clips(clips, TINY, seconds=5 * TINY.segment_seconds)
    assert [segment.index for segment in music.segments] == [0, 1, 2, 3, 4]
    assert {segment.frames for segment in music.segments} == {TINY.segment_frames}
    assert [row.tokens.tolist() for row in music.expected] == [[5, 6, 7, 8, 1], [7, 1]]
    assert np.array_equal(music.segments[0].samples, music.segments[2].samples)


def test_an_hour_has_1758_segments():
    assert len(tile_noise([3], MT3, 3_600.0).segments) == 1_758


def test_the_recorded_lengths_are_those_of_whole_dense_recordings():
    recorded = json.loads(run.LENGTHS_FILE.read_text())
    lengths = [length for row in recorded["recordings"].values() for length in row]
    assert len(recorded["checkpoint_sha256"]) == 64
    assert 100 < np.mean(lengths) < 200
    assert max(lengths) < MT3.max_tokens


# Report


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_json_has_every_stage_before_one_that_fails(tmp_path):
    path = tmp_path / "deep" / "out.json"
    report = Report(path, {"weights": "x"}, Deadline(60))
    assert json.loads(path.read_text())["stages"] == {}
    assert report.run("first", lambda: {"figure": 1}) == {"figure": 1}

    def fail():
        assert json.loads(path.read_text())["stages"] == {"first": {"figure": 1}}
        raise MemoryError("too many rows")

    assert report.run("second", fail) is None
    report.run("third", lambda: {"figure": 3})
    written = json.loads(path.read_text())
    assert list(written["stages"]) == ["first", "third"]
    assert written["failed"]["second"]["error"] == "MemoryError: too many rows"


def test_what_no_time_is_left_for_is_named(tmp_path):
    clock = Clock()
    report = Report(tmp_path / "out.json", {}, Deadline(10, clock))

    def long():
        clock.now = 11.0
        report.deadline.check()

    report.run("long", long)
    report.run("never begun", lambda: pytest.fail("no time was left"))
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["left_out"] == ["long", "never begun"]
    assert not written["failed"]


def test_a_pass_stops_at_the_time_limit():
    clock = Clock()
    deadline = Deadline(10, clock)
    clock.now = 11.0
    pool = open_pool(TINY, random_parameters(TINY), TINY_SHAPES, "float32", (20,))
    music = Music(segments=random_segments(3), lengths=(20,))
    with pytest.raises(OutOfTimeError):
        run_hour(pool, music, deadline)


# Counts


def test_a_step_reads_the_decoder_once_and_every_rows_caches():
    # TINY: D 16, J 2 * 4 = 8, M 24, V 12, two layers, T 8. Per layer six kernels of 16 x 8 and
    # three of 16 x 24 = 1,920 numbers; logits 192. A row: 2 layers, keys and values, 8 numbers for
    # each of 8 + 64 columns = 2,304.
    numbers = 2 * 1_920 + 192
    assert step_bytes(TINY, 3, 64, "float32") == pytest.approx(4 * (numbers + 3 * 2_304))
    assert step_bytes(TINY, 3, 64, "bfloat16") == pytest.approx(2 * (numbers + 3 * 2_304))


def test_an_encode_is_its_products():
    # Two layers of four kernels of 16 x 8 and three of 16 x 24, the projection 512 x 16, and two
    # cross-attention kernels of 16 x 8 in two layers: 2 * 1,664 + 8,192 + 512 = 12,032 numbers.
    # Attention: 2 layers, 2 products, 8 wide, over 8 frames = 256. Mel: 1,025 x 512.
    assert encode_operations(TINY) == 2 * 8 * (12_032 + 256 + 1_025 * 512)


def test_steps_are_timed_for_every_shape_the_largest_bucket_first():
    roofline = {"float32_tflops": 1.0, "copy_gb_per_second": 1.0}
    timer = StageTimer(TINY, TINY_SHAPES, "float32")
    measured = timer.measure([(2, 128), (2, 64), (3, 64)], roofline, Deadline(60))
    assert list(measured["step"]) == ["3x64", "2x64", "2x128"]


def test_time_that_the_device_does_not_need_is_the_hosts():
    result = {
        "seconds": [2.0, 1.0, 3.0],
        "encodes": 4,
        "iterations": {"8x64": 10},
        "shapes": {"iteration_steps": 16},
    }
    stages = {"encode_ms": 90.0, "insert_ms": 10.0, "step": {"8x64": {"ms": 5.0}}}
    split = split_time(result, stages)
    # Encodes 4 * 0.1 s, steps 10 * 16 * 0.005 s, median 2.0 s.
    assert split == {
        "seconds": 2.0, "encode_seconds": 0.4, "step_seconds": 0.8, "host_share": 0.4
    }  # fmt: skip


def test_shapes_are_read_from_the_command_line():
    parsed = shapes.parse_shapes("64/256/512x64x16")
    assert parsed == SlotShapes(rows=(64, 256, 512), encode_batches=(64,), iteration_steps=16)
    assert shapes.name_shapes(parsed) == "64/256/512x64x16"
    assert shapes.parse_shapes("8x4x16x64/1024").columns == (64, 1024)
    both = shapes.parse_shapes("64x16/64x16")
    assert both.encode_batches == (16, 64)
    assert shapes.name_shapes(both) == "64x16/64x16"


def test_correctness_compiles_one_program_of_a_precision():
    one = shapes.one_program(shapes.parse_shapes("64/256x32x16"))
    assert (one.rows, one.columns) == ((64,), (1024,))
    assert (
        shapes.parse_shapes_of(json.loads(json.dumps({"shapes": dataclasses.asdict(one)}))) == one
    )


@pytest.mark.parametrize(
    "text",
    [
        "8x4",
        "8xfourx16",
        "8x9x16",
        "4/8x9x16",
        "8/4x4x16",
        "8/8x4x16",
        "0/8x4x16",
        "8x4x0",
        "8x4/2x16",
        "8x4/4x16",
        "8x4x4x0",
    ],
)
def test_shapes_that_cannot_run_are_refused_before_anything_is_measured(text, tmp_path):
    path = tmp_path / "out.json"
    with pytest.raises(SystemExit):
        run.main(["--random-weights", "--shapes", text, "--json", str(path)])
    assert not path.exists()
