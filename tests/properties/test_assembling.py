"""Notes returned segment by segment equal those of the whole transcription, for any tokens."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.export.transcription_json import to_json_document, to_json_note
from mt3_model.notes.assembling import RecordingAssembler
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.tracks import TrackNumbers
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment, segment_start_time
from tests.examples import examples

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")

# Tokens of the whole vocabulary, and more often those that begin and end notes: a few pitches,
# velocity off and on, tie, two programs, drums, short shifts. Token = event index + 3; the ranges
# of MT3's codec are, in order, shift (1,001), pitch (128), velocity (2), tie (1), program (128),
# drum (128).
_PITCH, _VELOCITY, _TIE, _PROGRAM, _DRUM = 1_004, 1_132, 1_134, 1_135, 1_263
tokens = st.one_of(
    st.integers(_PITCH + 60, _PITCH + 63),
    st.integers(_VELOCITY, _VELOCITY + 1),
    st.just(_TIE),
    st.integers(_PROGRAM, _PROGRAM + 1),
    st.integers(_DRUM + 35, _DRUM + 36),
    st.integers(4, 260),
    st.integers(0, 1_490),
)
segments = st.lists(st.lists(tokens, max_size=40), min_size=1, max_size=5)


def assemble(written, start, *, closing):
    """Return the transcription, and the notes returned before it was finished."""
    assembler = RecordingAssembler(MT3, TranscriptionOptions(start=start))
    early_notes = []
    for index, said in enumerate(written):
        listed = np.array([*said, END_TOKEN], np.int32)
        segment = Segment(
            index=index,
            samples=np.zeros(0, np.float32),
            frames=MT3.segment_frames,
            start_time=segment_start_time(index, MT3),
        )
        generated = GeneratedSegment(
            tokens=listed, log_probabilities=np.full(len(listed), -0.5, np.float32)
        )
        early_notes += assembler.add_segment(segment, generated)
        if closing:
            is_last = index == len(written) - 1
            next_start = None if is_last else segment_start_time(index + 1, MT3)
            early_notes += assembler.close_segment(next_start)
    return assembler.finish(model=MODEL, duration_seconds=1.0), early_notes


@hypothesis.settings(max_examples=examples(100), derandomize=True)
@hypothesis.given(written=segments, start=st.sampled_from([0.0, 0.1, 60.0]))
def test_early_notes_equal_the_transcription(written, start):
    whole, _ = assemble(written, start, closing=False)
    closed, early_notes = assemble(written, start, closing=True)
    assert closed == whole
    assert tuple(early_notes) == whole.notes.notes
    # As a client of a stream does, with the documents as they are sent.
    order = ("start_time", "is_drum", "program", "pitch", "end_time")
    numbers = TrackNumbers()
    sent = [to_json_note(n, *numbers.assign([n])) for n in early_notes]
    documents = sorted(sent, key=lambda d: [d[name] for name in order])
    assert documents == to_json_document(whole, transcription_id="tr", created=0)["notes"]
