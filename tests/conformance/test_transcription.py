"""Levels 5 and 6: tokens and notes of whole recordings equal the original's, in both decodings.

Every segment's tokens must equal the original's. The one excuse is a near-tie: where the two
sequences part, our logits of the two tokens differ by less than 0.01. Such segments are counted
and the count is asserted, so that one more is noticed: there are none today.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.checkpoint.loading import load_checkpoint
from mt3_model.codec.vocabulary import build_codec
from mt3_model.generation.offline import generate
from mt3_model.generation.shapes import SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.hardware import Arithmetic, open_backend
from mt3_model.network import gpu_attention
from mt3_model.network.transformer import Transformer
from mt3_model.notes.decoding import SegmentTokens, decode_notes
from mt3_model.spec import MT3
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.segments import split_segments
from tests.conformance.golden_files import NAMES, read_golden

NEAR_TIE = 0.01
"""Source: golden/README.md, the second caution."""
BFLOAT16_NEAR_TIE = 0.1
"""The largest change of logits of 10 to 20 when operands are rounded to 8 bits of mantissa."""
MICROSECOND = 1e-6

pytestmark = [pytest.mark.shared, pytest.mark.checkpoint]

CASES = [
    (name, decoding)
    for name in NAMES
    for decoding in ("greedy", "reference")
    if not (decoding == "greedy" and name in {"short", "exact_two_segments"})
]


@pytest.fixture(scope="module")
def parameters(checkpoint_folder):
    return load_checkpoint(checkpoint_folder, MT3).parameters


@pytest.fixture(scope="module", params=["xla", "numba"])
def pool(parameters, request):
    """In float32, by XLA's programs and by the CPU's own."""
    arithmetic = Arithmetic(precision="float32", kernels=request.param, instruction_set=None)
    return open_backend(MT3, parameters, arithmetic)


@pytest.fixture(scope="module")
def generated(pool, shared_folder):
    """(name, decoding) -> segments and their tokens, each pair generated once."""
    answers = {}

    def generate_once(name, decoding):
        if (name, decoding) not in answers:
            segments = split_segments([read_golden(shared_folder, name).samples], MT3)
            pairs = list(generate(pool, segments, decoding))
            answers[name, decoding] = [p[0] for p in pairs], [p[1] for p in pairs]
        return answers[name, decoding]

    return generate_once


@pytest.mark.parametrize(("name", "decoding"), CASES)
def test_tokens_equal_the_originals(name, decoding, generated, parameters, shared_folder):
    segments, ours = generated(name, decoding)
    expected = read_golden(shared_folder, name).decoding(decoding)["segments"]
    near_ties = 0
    for segment, generation, golden in zip(segments, ours, expected, strict=True):
        if generation.tokens.tolist() != golden["tokens"]:
            gap = _gap_where_they_part(segment, generation.tokens, golden["tokens"], parameters)
            assert gap < NEAR_TIE, f"segment {segment.index} parts at a gap of {gap}"
            near_ties += 1
    assert near_ties == 0


@pytest.mark.parametrize(("name", "decoding"), CASES)
def test_notes_equal_the_originals_to_the_microsecond(name, decoding, generated, shared_folder):
    golden = read_golden(shared_folder, name).decoding(decoding)
    segments, ours = generated(name, decoding)
    decoded = decode_notes(
        [
            SegmentTokens(start_time=segment.start_time, tokens=generation.tokens)
            for segment, generation in zip(segments, ours, strict=True)
        ],
        build_codec(MT3.vocabulary),
        uses_ties=MT3.vocabulary.uses_ties,
    )
    assert decoded.invalid_events == golden["invalid_events"]
    assert len(decoded.notes.notes) == len(golden["notes"])
    for note, expected in zip(decoded.notes.notes, golden["notes"], strict=True):
        assert abs(note.start_time - expected["start"]) < MICROSECOND
        assert abs(note.end_time - expected["end"]) < MICROSECOND
        for field in ("pitch", "velocity", "program", "is_drum", "instrument"):
            assert getattr(note, field) == expected[field]


def test_a_gpus_programs_give_the_originals_tokens(parameters, shared_folder, monkeypatch):
    """They are interpreted here, and their iterations launched ahead, as on a GPU."""
    for name in ("attend_cached", "attend_past"):
        program = functools.partial(getattr(gpu_attention, name), interpret=True)
        monkeypatch.setattr(gpu_attention, name, program)
    pool = SlotPool(
        MT3,
        parameters,
        shapes=SlotShapes(rows=(8,), encode_batches=(2, 4), columns=(128,)),
        cached_attention="triton",
        ends_early=False,
        launches_ahead=True,
    )
    golden = read_golden(shared_folder, "odd")
    expected = golden.decoding("greedy")["segments"]
    generations = generate(pool, split_segments([golden.samples], MT3), "greedy")
    for (_, ours), theirs in zip(generations, expected, strict=True):
        assert ours.tokens.tolist() == theirs["tokens"]


def test_bfloat16_changes_tokens_only_at_near_ties(parameters, shared_folder):
    """Rounded operands change tokens only where two logits are nearly equal."""
    pool = open_backend(
        MT3, parameters, Arithmetic(precision="bfloat16", kernels="numba", instruction_set=None)
    )
    gaps, count = [], 0
    for name in ("piano", "mixed", "odd"):
        golden = read_golden(shared_folder, name)
        expected = golden.decoding("greedy")["segments"]
        generations = generate(pool, split_segments([golden.samples], MT3), "greedy")
        for (segment, ours), theirs in zip(generations, expected, strict=True):
            count += 1
            if ours.tokens.tolist() != theirs["tokens"]:
                gaps.append(
                    _gap_where_they_part(segment, ours.tokens, theirs["tokens"], parameters)
                )
    # First measured: 8 of 27 recordings differ, with a logit difference of at most 0.024.
    assert len(gaps) <= 0.5 * count
    assert max(gaps, default=0.0) < BFLOAT16_NEAR_TIE


def _gap_where_they_part(segment, ours, golden, parameters):
    """Return the difference between our logits of the two differing tokens."""
    both = zip(ours.tolist(), golden, strict=False)
    step = next((i for i, (a, b) in enumerate(both) if a != b), min(len(ours), len(golden)))
    prefix = jnp.array([golden[: step + 1]], jnp.int32)
    logmel = compute_logmel(
        jnp.asarray(segment.samples)[None], jnp.array([segment.frames], jnp.int32), MT3.spectrogram
    )
    logits = Transformer(MT3.network).apply({"params": parameters}, logmel, prefix)
    top = np.sort(np.asarray(logits)[0, step])[::-1]
    return float(top[0] - top[1])
