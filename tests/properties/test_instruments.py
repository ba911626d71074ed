"""Properties of `instruments`: no note has an instrument that was not named, for any tokens."""

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mt3_model.codec.instrument_mask import forbid_other_instruments
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.general_midi import FAMILY_NAMES, PROGRAM_NAMES
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.instruments_option import parse_instruments
from mt3_model.notes.named_instruments import forbid_unnamed
from mt3_model.notes.postprocess_option import POSTPROCESS_STEPS
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from mt3_model.postprocessing.cleaning import clean_up_transcription
from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.fake_backend import FakeBackend
from tests.examples import examples
from tests.unit.service.devices import running, segments

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")
names = st.lists(
    st.sampled_from([*PROGRAM_NAMES, *FAMILY_NAMES, *map(str, range(128)), "drums"]),
    min_size=1,
    max_size=4,
).map(tuple)
postprocessing = st.lists(st.sampled_from(POSTPROCESS_STEPS)).map(
    lambda steps: ",".join(steps) or "none"
)


def tokens_that_are_not_forbidden(forbidden, seed):
    """Draw any tokens that generation may write, most of them events, for three segments."""
    random = np.random.default_rng(seed)
    possible = np.flatnonzero(~forbidden[:1391])
    # Shifts are most of the vocabulary: take few of them, so that there are notes.
    weights = np.where((possible >= 3) & (possible <= 1003), 0.02, 1.0)
    return [
        random.choice(possible, size=60, p=weights / weights.sum()).astype(np.int32)
        for _ in range(3)
    ]


def assert_named(notes, named):
    for note in notes:
        assert named.has_drums if note.is_drum else note.program in named.allowed_programs


@settings(max_examples=examples(100))
@given(names=names, postprocess=postprocessing, seed=st.integers(0, 2**32 - 1))
def test_no_note_is_of_an_instrument_that_was_not_named(names, postprocess, seed):
    named = parse_instruments(names)
    options = TranscriptionOptions(instruments=names, postprocess=postprocess)
    assembler = RecordingAssembler(MT3, options)
    streamed = []
    generated = tokens_that_are_not_forbidden(forbid_unnamed(MT3.vocabulary, named), seed)
    for index, tokens in enumerate(generated):
        segment = Segment(
            index=index, samples=np.empty(0, np.float32), frames=256, start_time=2.04 * index
        )
        probabilities = np.full(len(tokens), -0.5, np.float32)
        streamed += assembler.add_segment(
            segment, GeneratedSegment(tokens=tokens, log_probabilities=probabilities)
        )
    streamed += assembler.close_segment(None)
    finished = assembler.finish(model=MODEL, duration_seconds=6.12)
    cleaned = clean_up_transcription(finished, None)
    assert_named(streamed, named)
    assert_named(cleaned.notes.notes, named)
    if postprocess == "none":
        assert [(n.program, n.pitch, n.start_time) for n in cleaned.notes.notes] == [
            (n.program, n.pitch, n.start_time) for n in streamed
        ]
        assert len(cleaned.notes.notes) == len(finished.notes.notes), "no note is deleted"


@settings(max_examples=examples(30))
@given(
    requests=st.lists(st.none() | names, min_size=2, max_size=8),
    slots=st.integers(1, 6),
    encode_batch=st.integers(1, 3),
)
def test_a_request_in_company_has_the_tokens_that_it_has_alone(requests, slots, encode_batch):
    def forbidden_by(names):
        if names is None:
            return None
        named = parse_instruments(names)
        return forbid_other_instruments(
            MT3.vocabulary, programs=named.allowed_programs, has_drums=named.has_drums
        )

    async def run_one(engine, names):
        with engine.admit(
            audio_seconds=4.0, decoding="greedy", forbidden=forbidden_by(names)
        ) as admission:
            answers = await asyncio.gather(*engine.submit(segments(0, 1, 2, 3), admission))
        return [answer.tokens.tolist() for answer in answers]

    async def run(*groups):
        backend = FakeBackend(MT3, slots=slots, encode_batch=encode_batch)
        async with running(backend) as engine:
            return [
                answer
                for group in groups
                for answer in await asyncio.gather(*(run_one(engine, names) for names in group))
            ]

    together = asyncio.run(run(requests))
    alone = asyncio.run(run(*([names] for names in requests)))
    assert together == alone
    for names, answer in zip(requests, together, strict=True):
        forbidden = forbidden_by(names)
        for tokens in answer:
            assert forbidden is None or not forbidden[tokens].any()
