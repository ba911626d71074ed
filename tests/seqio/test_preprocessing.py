"""Segments and targets of the pipeline equal those of an independent procedure."""

import note_seq
import numpy as np
import pytest

from mt3_model import spec
from mt3_model.export.note_sequence import to_note_sequence_proto
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.trimming import trim_overlapping_notes
from mt3_model.seqio_tasks.preprocessing import read_note_sequence, segment_recordings
from tests.properties.single_step_targets import reference_targets
from tests.seqio.recordings import piece, recordings, samples
from tests.seqio.tensorflow_logmel import tensorflow_logmel

pytestmark = pytest.mark.seqio

# 5 s at 16 kHz: 80,000 samples are 625 frames, and the padding adds one.
FRAMES = 626


@pytest.fixture(scope="module", params=[spec.MT3, spec.ISMIR2021], ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> spec.ModelSpec:
    return request.param


@pytest.fixture(scope="module")
def segments(model: spec.ModelSpec) -> list[dict[str, np.ndarray]]:
    dataset = segment_recordings(recordings(piece()), model=model)
    return list(dataset.as_numpy_iterator())


def test_targets_equal_those_of_the_single_step_procedure(
    model: spec.ModelSpec, segments: list[dict[str, np.ndarray]]
) -> None:
    expected = reference_targets(trim_overlapping_notes(piece()), model, FRAMES)
    assert [segment["targets"].tolist() for segment in segments] == expected


def test_inputs_are_the_log_mel_of_each_segment_alone(
    model: spec.ModelSpec, segments: list[dict[str, np.ndarray]]
) -> None:
    padded = np.pad(samples(), (0, 128))
    size = model.segment_samples
    cuts = [padded[start : start + size] for start in range(0, len(padded), size)]
    assert len(segments) == len(cuts)
    for segment, cut in zip(segments, cuts, strict=True):
        assert segment["inputs"].shape == (len(cut) // 128, 512)
        # The last frame is digital silence but for FFT rounding: compare where there is sound.
        audible = segment["inputs"].max(axis=1) > -8
        np.testing.assert_allclose(
            segment["inputs"][audible], tensorflow_logmel(cut)[audible], atol=2e-5, rtol=0
        )


def test_start_times_are_those_of_the_service(
    model: spec.ModelSpec, segments: list[dict[str, np.ndarray]]
) -> None:
    starts = [float(segment["start_time"]) for segment in segments]
    assert starts == ([0.0, 2.04, 4.09] if model is spec.MT3 else [0.0, 4.09])


def test_notes_come_with_the_first_segment_only(segments: list[dict[str, np.ndarray]]) -> None:
    assert segments[0]["sequence"]
    assert not any(segment["sequence"] for segment in segments[1:])
    assert {segment["id"] for segment in segments} == {b"recording-0"}


def test_note_sequence_comes_back_from_its_protobuf() -> None:
    assert read_note_sequence(to_note_sequence_proto(piece())) == piece()


def test_pedal_lengthens_notes() -> None:
    note = Note(pitch=60, start_time=0.0, end_time=1.0, velocity=90)
    proto = note_seq.NoteSequence.FromString(
        to_note_sequence_proto(NoteSequence(notes=(note,), total_time=3.0))
    )
    proto.control_changes.add(time=0.5, control_number=64, control_value=127)
    proto.control_changes.add(time=2.0, control_number=64, control_value=0)
    assert read_note_sequence(proto.SerializeToString()).notes[0].end_time == 2.0
